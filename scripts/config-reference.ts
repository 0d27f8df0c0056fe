/** Prints docs/guide/configuration.md from the schema: `node scripts/config-reference.ts > docs/guide/configuration.md`. */
import { configSchemaJson } from "../src/config/schema.ts";

/** The keywords of JSON Schema that the configuration's schema uses. */
interface Schema {
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string | readonly string[];
  readonly const?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
}

const INTRODUCTION = `# Configuration reference

This page is generated from the schema that checks the file: \`node scripts/config-reference.ts > docs/guide/configuration.md\`.

The file is YAML, \`clearline.yaml\` in the examples. Every command takes it with \`-c FILE\`. Without a file the node runs
the embedded default: an explicit proxy on 127.0.0.1:8080 and a pcapng feed in the data folder. Only \`listeners\` is
required. An unknown key is an error. \`clearline check -c FILE\` reports all errors at once, each with its line and column.

- File names are relative to the configuration file.
- A *host:port* is \`10.0.0.5:443\`, \`[::1]:443\` or \`www.example.com:443\`. To listen everywhere: \`0.0.0.0\`, or \`[::]\` for
  IPv6 and IPv4.
- A *duration* is \`250ms\`, \`5s\`, \`10m\`, \`1h\` or \`30d\`; a *size* is \`500kB\`, \`100MB\` or \`1GiB\`.
- "One or a list" means that both \`port: 443\` and \`port: [443, 8443]\` are valid.
`;

/** The whole page, in Markdown. */
export function configurationPage(): string {
  return [INTRODUCTION, ...groupSections("", configSchemaJson() as Schema)].join("\n");
}

/** A group of keys, then the groups inside it. The entries of a list have the heading "name[]". */
function groupSections(path: string, schema: Schema): string[] {
  const variants = schema.items?.oneOf ?? [schema.items ?? schema];
  const place = schema.items ? `${path}[]` : path;
  return variants.flatMap(({ properties = {}, required }) => {
    const entries = Object.entries(properties);
    const [kind] = entries.filter(([, { const: value }]) => value !== undefined);
    const title = place && `\`${place}\`${kind ? ` with \`${kind[0]}: ${kind[1].const}\`` : ""}`;
    const keys = entries.filter(([, value]) => !isGroup(value));
    return [
      ...(keys.length > 0 ? section(title || "The whole file", kind?.[1] ?? schema, keys, required) : []),
      ...entries
        .filter(([, value]) => isGroup(value))
        .flatMap(([key, value]) => groupSections(join(place, key), value)),
    ];
  });
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function isGroup({ properties, items }: Schema): boolean {
  return (properties ?? items?.properties ?? items?.oneOf) !== undefined;
}

function section(
  title: string,
  { description }: Schema,
  keys: readonly (readonly [string, Schema])[],
  required: readonly string[] = [],
): string[] {
  const rows = keys.map(([key, schema]) => {
    const standard = required.includes(key) ? "required" : defaultOf(schema);
    return `| \`${key}\` | ${typeOf(key, schema)} | ${standard} | ${cell(schema.description ?? "")} |`;
  });
  const head = ["| key | value | default | meaning |", "|---|---|---|---|"];
  return [`## ${title}`, "", ...(description ? [description, ""] : []), ...head, ...rows, ""];
}

function defaultOf({ default: value }: Schema): string {
  if (value === undefined) return "";
  if (typeof value === "object" && value !== null && Object.keys(value).length === 0) return "none";
  return `\`${value}\``;
}

function typeOf(key: string, schema: Schema): string {
  if (schema.const !== undefined) return `\`${schema.const}\``;
  if (schema.enum) return schema.enum.map((value) => `\`${value}\``).join(", ");
  if (schema.type === "object" && schema.properties) return `\`{ ${Object.keys(schema.properties).join(", ")} }\``;
  if (schema.anyOf?.some(({ type }) => type === "array")) return "one or a list";
  if (schema.anyOf) return schema.anyOf.map((one) => typeOf(key, one)).join(" or ");
  if (schema.type === "array") return `list of ${PLURALS[typeOf(key, schema.items ?? {})] ?? "values"}`;
  if (key === "ports" && schema.type === "object") return "ports to ports";
  if (schema.type === "boolean") return "`true` or `false`";
  if (schema.type === "integer") return `${schema.minimum} to ${schema.maximum}`;
  return textKind(key, schema.default);
}

const PLURALS: Readonly<Record<string, string>> = { text: "texts", "a file": "files" };

/** Tells kinds of text apart by their default or their key, since the schema has only "string". */
function textKind(key: string, standard: unknown): string {
  if (/^\d+(?:ms|[smhd])$/.test(String(standard))) return "duration";
  if (/^\d+[kMG]i?B$/.test(String(standard))) return "size";
  if (["address", "server", "returnAddress"].includes(key)) return "host:port";
  if (["dataDir", "directory"].includes(key)) return "a folder";
  return ["certificate", "key", "files", "file", "bypass", "decrypt"].includes(key) ? "a file" : "text";
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("*", "\\*");
}

if (import.meta.main) process.stdout.write(configurationPage());
