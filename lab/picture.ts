import { DOMAIN } from "../test/pki.ts";
import type { Stage } from "./claim.ts";
import type { End, Host } from "./network.ts";
import { PORTS } from "./servers.ts";
import { FORBIDDEN, type ToolHost } from "./tool-host.ts";

/** Draws the topology with its names and addresses. */
export function drawNetwork(stage: Stage): string {
  const { network } = stage;
  const { client, node, server, topology } = network;
  const what = topology === "bridge" ? "a bridge: one subnet" : "a router between two networks";
  const middle = [`node (${what})`, node.namespace, `${node.networkA} = Na | Nb = ${node.networkB}`, ...node.addresses];
  const columns = [side("client", client), middle, side("server", server)];
  const widths = columns.map((lines) => Math.max(...lines.map((line) => line.length)));
  const height = Math.max(...columns.map((lines) => lines.length));
  const rule = widths.map((width) => `+${"-".repeat(width + 2)}+`).join("      ");
  const rows = Array.from({ length: height }, (_, row) => {
    const cells = columns.map((lines, column) => `| ${(lines[row] ?? "").padEnd(widths[column]!)} |`);
    return cells.join(row === 2 ? "------" : "      ");
  });
  const drawn = [rule, ...rows, rule].map((line) => `  ${line}`);
  // The tools hang below the node's column.
  const indent = " ".repeat(widths[0]! + 12);
  return [...drawn, ...stage.tools.flatMap(drawTool).map((line) => `${indent}${line}`)].join("\n");
}

function drawTool({ name, layer, namespace, interfaceA, interfaceB, ends }: ToolHost): readonly string[] {
  const [a, b] = [`Ta = ${interfaceA}`, `Tb = ${interfaceB}`];
  const tool = [`tool ${name} (a ${layer === 3 ? "router" : "bridge"})`, namespace];
  const width = Math.max(a.length + b.length + 4, ends.length, ...tool.map((line) => line.length));
  const gap = " ".repeat(width - a.length - b.length);
  const [down, up] = ["|", "|"].map((arrow) => arrow.padEnd(a.length));
  const box = `+${"-".repeat(width + 2)}+`;
  return [`  ${a}${gap}${b}`, `  ${down}${gap}${up}`, box, ...tool.map((line) => `| ${line.padEnd(width)} |`), box];
}

function side(name: string, end: End): readonly string[] {
  return [name, end.namespace, end.interface, end.address[4], end.address[6]];
}

/** Lists commands to try in other terminals, each with what it shows. */
export function listCommands({ network, node, pki, tools }: Stage): string {
  const { client, server } = network;
  const inside = ({ namespace }: Host, command: string) => `ip netns exec ${namespace} ${command}`;
  const clearline = (words: string) => inside(network.node, `npm run -s clearline -- ${words} -c ${node.file}`);
  const get = (port: number, authority: string) => {
    const name = `www.${DOMAIN}:${port}`;
    return inside(client, `curl -v --cacert ${authority} --resolve ${name}:${server.address[4]} https://${name}/`);
  };
  const commands: readonly (readonly [string, string])[] = [
    ["The sessions, live", clearline("sessions --watch")],
    ["The node's counters", clearline("stats")],
    ["What the node changed in its host's network", clearline("inline plan")],
    ["The nft rules and their counters", inside(network.node, "nft list ruleset")],
    ["A page through the node: its CA has signed the certificate", get(PORTS.https, node.authorities)],
    ["A request that the tool resets", `${get(PORTS.https, node.authorities)}${FORBIDDEN} --http1.1`],
    [
      "A page that a rule of the network phase bypasses: the server's own certificate",
      get(PORTS.bypassed, pki.root.certificate),
    ],
    ["The packets at the client", inside(client, `tcpdump -ni ${client.interface}`)],
    ["The packets at the server: the same addresses", inside(server, `tcpdump -ni ${server.interface}`)],
    ...tools.map(
      (tool) => ["The packets in the tool: plaintext", inside(tool, `tcpdump -nAi ${tool.inA} port 80`)] as const,
    ),
    ["The plaintext in the feed", `tshark -r "$(ls -t ${node.captures}/*.pcapng | head -n 1)" -Y 'http || http2'`],
    ["Kill the workers: traffic goes on", `kill -9 ${node.pids().slice(1).join(" ")}`],
  ];
  return commands.map(([why, command]) => `  # ${why}\n  ${command}`).join("\n");
}
