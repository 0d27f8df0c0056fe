import type { Command } from "commander";
import type { ViewPart } from "../../control/api.ts";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { color, plain, printJson } from "../render.ts";

export function followCommand(): Command {
  return createCommand("follow", "Show what a session carries as text, live (needs a feed of kind http).", [
    "follow mh2k8x1a-0-1f",
    "follow mh2k8x1a-0-1f --json",
  ])
    .argument("<id>", "the session's id, as `sessions` and `transactions` show it")
    .option("--json", "print one line of JSON for each part")
    .action(async (id: string, { config, json }: CommonOptions & { json?: true }) => {
      const parts = (await openClient(config)).finite<ViewPart>(`/sessions/${encodeURIComponent(id)}/follow`, "part");
      const writer = new PartPrinter();
      for await (const part of parts) {
        if (json) printJson(part);
        else writer.write(part);
      }
      if (!json) writer.end();
    });
}

const ARROWS = { client: ">", server: "<", view: "*" } as const;

/** Prints heads with arrows, and bodies as they are, with a title wherever another message goes on. */
class PartPrinter {
  /** The message whose text was printed last. */
  #last = "";
  #atLineStart = true;

  write(part: ViewPart): void {
    const { exchange, from, kind, text } = part;
    const message = `${exchange} ${from} ${kind === "head" ? "head" : "body"}`;
    const lines = text.split("\n").map(harmless);
    if (kind === "note") {
      this.#line(color.yellow(`* ${exchange > 0 ? `#${exchange}: ` : ""}${lines.join(" ")}`));
    } else if (kind === "head") {
      this.#line("");
      const paint = from === "client" ? color.cyan : color.green;
      for (const [index, line] of lines.entries())
        this.#line(`${color.dim(`#${exchange}`)} ${paint(ARROWS[from])} ${index === 0 ? color.bold(line) : line}`);
    } else if (kind === "message") {
      for (const line of lines) this.#line(`${color.dim(`#${exchange}`)} ${ARROWS[from]} ${line}`);
    } else {
      if (message !== this.#last) this.#line(color.dim(`#${exchange} ${ARROWS[from]} body`));
      this.#out(lines.join("\n"));
    }
    this.#last = message;
  }

  end(): void {
    if (!this.#atLineStart) this.#out("\n");
  }

  /** A whole line, on a line of its own. */
  #line(text: string): void {
    this.#out(`${this.#atLineStart ? "" : "\n"}${text}\n`);
  }

  #out(text: string): void {
    if (text === "") return;
    process.stdout.write(text);
    this.#atLineStart = text.endsWith("\n");
  }
}

/** A tab is harmless, and so is a carriage return before the line's end, which is left out. */
function harmless(line: string): string {
  return line.replace(/\r$/, "").split("\t").map(plain).join("\t");
}
