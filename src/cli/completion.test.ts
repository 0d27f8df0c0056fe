import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Command } from "commander";
import { COMMANDS } from "./commands.ts";
import { suggest } from "./completion.ts";
import { examplesUnder } from "./program.ts";

describe("The commands", () => {
  const program = new Command("clearline");
  before(async () => {
    for (const { load } of COMMANDS) program.addCommand(await load());
  });

  const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];
  const commands = () => program.commands.flatMap(all);

  test("have the names of their rows, so that each is loaded when it is called", () => {
    assert.deepEqual(
      program.commands.map((command) => command.name()),
      COMMANDS.map(({ name }) => name),
    );
  });

  test("each say what they do, with examples, and so does each option and argument", () => {
    for (const command of commands()) {
      const name = command.name();
      let help = "";
      command
        .configureOutput({
          writeOut: (text) => {
            help += text;
          },
        })
        .outputHelp();
      assert.match(help, /\nExamples:\n {2}clearline \S/, name);
      assert.ok(command.description().length > 10, name);
      for (const { flags, description } of command.options) assert.ok(description, `${name} ${flags}`);
      for (const argument of command.registeredArguments) assert.ok(argument.description, `${name} ${argument.name()}`);
    }
  });

  test("have examples that call them, with options that they have", () => {
    for (const command of commands())
      for (const example of examplesUnder(command)) {
        // Up to a pipe or a redirection, which is the shell's.
        const [called, ...words] = example.split(/ [|>] /)[0]!.split(" ");
        let at = program.commands.find((one) => one.name() === called);
        assert.ok(at, example);
        for (const word of words) {
          at = at.commands.find((part) => part.name() === word) ?? at;
          const isKnown = at.options.some(({ long, short }) => [long, short].includes(word.split("=")[0]));
          // The lab has options of its own.
          if (word.startsWith("-") && called !== "lab") assert.ok(isKnown, `${word} in: ${example}`);
        }
      }
  });

  const words = (...typed: string[]) => {
    const found = suggest(program, typed);
    return found.kind === "words" ? found.words.map(({ word }) => word) : found.kind;
  };

  test("are suggested by name, by part and by option", () => {
    assert.ok(words("").includes("sessions"));
    assert.deepEqual(words("token", ""), ["add", "list", "remove"]);
    assert.deepEqual(words("ca", "renew", "--r"), words("ca", "renew", "-"));
    assert.ok(words("ca", "renew", "-").includes("--role"));
    assert.deepEqual(words("sessions", ""), []);
    assert.deepEqual(words("nothing", ""), []);
  });

  test("suggest the values of options and arguments: choices, files, and what the node knows", () => {
    assert.deepEqual(words("ca", "renew", "--role", ""), ["primary", "secondary"]);
    assert.deepEqual(words("ca", "renew", "--role=p"), ["--role=primary", "--role=secondary"]);
    assert.deepEqual(words("ca", "renew", "--role", "=", "p"), ["primary", "secondary"]);
    assert.deepEqual(words("ca", "renew", "--role", "="), ["primary", "secondary"]);
    assert.deepEqual(words("completion", ""), ["bash", "zsh", "fish"]);
    assert.equal(words("check", "-c", ""), "files");
    assert.equal(words("sessions", "--host", ""), "live");
    assert.equal(words("session", "-c", "x.yaml", ""), "live");
    assert.equal(words("token", "remove", "--", ""), "live");
    assert.deepEqual(words("token", "remove", "a", ""), []);
  });

  test("suggest nothing for words that make no sense, and no part of the object's own", () => {
    for (const typed of [
      ["__proto__", ""],
      ["sessions", "--constructor", ""],
      ["sessions", "--toString="],
      ["", "", "-"],
      ["="],
      ["--", ""],
    ])
      assert.doesNotThrow(() => suggest(program, typed));
  });
});
