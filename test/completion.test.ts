import assert from "node:assert/strict";
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type Control, startControl } from "../src/control/server.ts";
import { createTestOperations, QUIET, testSession } from "../src/control/test-operations.ts";
import { needs } from "./needs.ts";
import { must, run, scratch, until } from "./processes.ts";

/** Each shell completes what a user types, with the script that `clearline completion` prints for it. */
describe("Completion", () => {
  const folder = scratch();
  const operations = createTestOperations();
  let control: Control;
  let env: NodeJS.ProcessEnv;

  before(async () => {
    mkdirSync(join(folder, "bin"));
    symlinkSync(join(process.cwd(), "bin/clearline"), join(folder, "bin/clearline"));
    const tokenFile = join(folder, "data", "token");
    control = await startControl(operations, { host: "127.0.0.1", port: 0, tokenFile, log: QUIET });
    const address = `127.0.0.1:${control.address.port}`;
    writeFileSync(join(folder, "node.yaml"), `dataDir: ./data\nconsole: { address: "${address}" }\n`);
    operations.apply(
      testSession("s-1", 1, { sni: "www.one.example" }),
      testSession("s-2", 2, { sni: `$(touch ${folder}/owned).example` }),
      testSession("s-3", 3, { sni: "`id`.example" }),
      testSession("s-4", 4, { sni: "\x1b]0;owned\x07.example" }),
    );
    env = { ...process.env, PATH: `${folder}/bin:${process.env["PATH"]}`, HOME: folder, NODE_TEST_CONTEXT: undefined };
    for (const shell of ["bash", "zsh", "fish"])
      writeFileSync(join(folder, shell), await must("clearline", ["completion", shell], { env }));
  });
  after(async () => {
    await control.close();
    await operations.history.close();
  });

  /** What the shell suggests for these words, the last one being typed. */
  const SHELLS: Readonly<Record<string, (words: readonly string[]) => readonly string[]>> = {
    bash: (words) => {
      const list = words.map((word) => `'${word}'`).join(" ");
      const call = `COMP_WORDS=(clearline ${list}); COMP_CWORD=${words.length}; _clearline clearline; printf '%s\\n' "\${COMPREPLY[@]}"`;
      // compopt works only within a completion.
      return ["bash", "--norc", "-c", `. ./bash; compopt() { COMPREPLY=(); echo files; }; ${call}`];
    },
    // The matches that zsh's own system would offer: compadd is where they all arrive.
    zsh: (words) => {
      const list = words.map((word) => `'${word}'`).join(" ");
      const parts = [
        "autoload -U compinit; compinit -u -D; . ./zsh",
        `_describe() { local one; for one in \${(P)2}; do print -r -- \${one%%:*}; done }; _files() { print files }`,
        `words=(clearline ${list}); CURRENT=${words.length + 1}; _clearline`,
      ];
      return ["zsh", "-f", "-c", parts.join("\n")];
    },
    fish: (words) => ["fish", "--no-config", "-c", `source ./fish; complete -C "clearline ${words.join(" ")}"`],
  };

  for (const [shell, command] of Object.entries(SHELLS))
    test(
      `${shell} completes commands, options, values, and what the node knows`,
      shell === "bash" ? {} : needs(shell),
      async () => {
        const suggested = async (...words: string[]) => {
          const [program = "", ...args] = command(words);
          const { stdout, stderr } = await run(program, args, { cwd: folder, env });
          assert.equal(stderr, "");
          return stdout
            .split("\n")
            .map((line) => line.split("\t")[0])
            .filter(Boolean);
        };
        assert.deepEqual((await suggested("sess")).sort(), ["session", "sessions"]);
        assert.deepEqual(await suggested("ca", "renew", "--role", "s"), ["secondary"]);
        assert.deepEqual(await suggested("sessions", "--verd"), ["--verdict"]);
        // On a busy machine the command gives up before the node has answered, and suggests nothing.
        const answered = (...words: string[]) =>
          until(`a suggestion for ${words.join(" ")}`, async () => {
            const found = await suggested(...words);
            return found.length > 0 && found;
          });
        // Hosts that a shell could expand, or that move the cursor, are left out.
        assert.deepEqual(await answered("sessions", "-c", "node.yaml", "--host", ""), ["www.one.example"]);
        const ids = await answered("session", "-c", "node.yaml", "s-");
        assert.deepEqual(ids.sort(), ["s-1", "s-2", "s-3", "s-4"]);
        assert.ok((await suggested("check", "-c", "node")).some((word) => ["files", "node.yaml"].includes(word!)));
        assert.ok(!existsSync(join(folder, "owned")));
      },
    );
});
