import { textOf } from "./listener-place.ts";
import type { Config } from "./schema.ts";

/** Where a tool stands, on one line for people: "tool-a to tool-b", "10.0.9.5:3128, back to 0.0.0.0:3129". */
export function toolPlace(tool: Config["tools"][number]): string {
  switch (tool.kind) {
    case "inline":
      return `${tool.interfaceA} to ${tool.interfaceB}`;
    case "proxy":
      return `${textOf(tool.address)}, back to ${textOf(tool.returnAddress)}`;
  }
}
