import { loop } from "../../src/engine/test-ends.ts";
import { openProxyTool } from "../../src/tools/proxy-tool.ts";
import { createReturns, createReturnsDirectory, type Returns } from "../../src/tools/returns.ts";
import type { ProxyTool } from "../../src/tools/tool.ts";
import { type ToolUnderTest, testTool } from "../../src/tools/tool-compliance.ts";
import { needs } from "../needs.ts";
import { freePort, type Program } from "../processes.ts";
import { haproxy, listeningProgram, type ToolPorts } from "./proxies.ts";

testTool("A proxy tool, HAProxy,", needs("haproxy"), () => open(haproxy, "proxy-v2"));
testTool("A proxy tool, HAProxy with addresses only,", needs("haproxy"), () =>
  open((ports) => haproxy(ports, { send: "send-proxy" }), "proxy-v2", "addresses"),
);
testTool("A proxy tool for SSLproxy's line", {}, () => open((ports) => listeningProgram(ports, "strip"), "sslproxy"));

async function open(
  start: (ports: ToolPorts) => Promise<Program>,
  header: ProxyTool["header"],
  matching: ProxyTool["matching"] = "unique-id",
): Promise<ToolUnderTest> {
  const ports = { port: await freePort(), back: await freePort() };
  const program = await start(ports);
  const host = "127.0.0.1";
  const place: ProxyTool = {
    name: "tool",
    kind: "proxy",
    flows: ["decrypted"],
    onFailure: "drop",
    address: { host, port: ports.port },
    returnAddress: { host, port: ports.back },
    header,
    matching,
    ports: {},
  };
  const office = createReturnsDirectory(loop, (_, answer) => returns.hear(answer, undefined));
  const returns: Returns = createReturns(loop, true, async (news) => office.hear(news, 0, undefined));
  const tool = await openProxyTool(place, {
    path: "tools[0]",
    worker: 0,
    workers: 1,
    loop,
    timeout: () => 5_000,
    returns,
    warn: () => {},
  });
  let count = 0;
  return {
    tool,
    subject() {
      count += 1;
      return {
        id: `session-${count}`,
        client: { address: "192.0.2.1", port: 10_000 + count },
        server: { address: "198.51.100.1", port: 443 },
        flow: "decrypted",
        host: "www.example.com",
        alpn: "http/1.1",
      };
    },
    breakTool: async () => void (await program.stop("SIGKILL")),
    async close() {
      await tool.close();
      await program.stop("SIGKILL");
    },
  };
}
