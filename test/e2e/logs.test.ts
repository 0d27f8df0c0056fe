import assert from "node:assert/strict";
import { once } from "node:events";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { curl } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { accepts, freePort, type Program, run, scratch, start, until } from "../processes.ts";

const PEERS = ["openssl", "nginx-light", "curl", "rsyslog", "rsyslog-gnutls", "prometheus"];

describe("Logs, webhooks and metrics", needs(...PEERS), () => {
  let pki: Pki;
  let origin: Nginx;
  let rsyslog: Program;
  let node: TestNode;
  const folder = scratch();
  const seen = join(folder, "seen");
  const events: { event: string; message: string; details: Record<string, unknown> }[] = [];
  const receiver = createServer(async (request, response) => {
    events.push(JSON.parse(await text(request)));
    response.writeHead(204).end();
  });

  before(async () => {
    pki = await makePki();
    const [udp, tcp, tls] = [await freePort(), await freePort(), await freePort()];
    await once(receiver.listen(0, "127.0.0.1"), "listening");
    [origin, rsyslog] = [await nginx(pki.server.ecdsa), startRsyslog(pki, folder, seen, { udp, tcp, tls })];
    await accepts(tls);
    const syslog = (transport: string, port: number) => ({
      ...{ kind: "syslog", transport, address: `localhost:${port}`, facility: "local3" },
      ...(transport === "tls" && { trust: pki.root.certificate }),
    });
    const targets = [{ kind: "stderr" }, { kind: "file", directory: "./log" }];
    const servers = [syslog("udp", udp), syslog("tcp", tcp), syslog("tls", tls)];
    writeFileSync(join(folder, "secret"), "0123456789abcdef0123456789abcdef");
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: {
        ...{ workers: 1, log: { sessions: true, targets: [...targets, ...servers] } },
        webhooks: [{ url, secret: join(folder, "secret") }],
      },
    });
  });
  after(async () => {
    receiver.close();
    await node?.[Symbol.asyncDispose]();
    await rsyslog?.stop();
    await origin?.process.stop();
  });

  /** The lines of this session at rsyslog: how each came, its facility, severity and message ID, and the message. */
  const atSyslog = (host: string) =>
    readFileSync(seen, "utf8")
      .split("\n")
      .filter((line) => line.includes(host))
      .map((line) => line.split(" ", 5));

  test("A session is one line at its end, on standard error, in the file and at rsyslog by UDP, TCP and TLS", async () => {
    const host = `told.${DOMAIN}`;
    const { code, stderr } = await curl({ port: node.forward("web") }, node.primary, [`https://${host}/negotiated`]);
    assert.equal(code, 0, stderr);
    await node.process.shows(new RegExp(`"ecs":.*"server_name":"${host}"`));
    const line = node.process
      .output()
      .split("\n")
      .find((one) => one.includes(host) && one.includes('"ecs"'))!;
    const record = await node.session(host);
    const logged = JSON.parse(line);
    assert.partialDeepStrictEqual(logged, {
      level: "info",
      event: { id: record.id, action: "decrypt", outcome: "success" },
      network: { community_id: record.communityId, protocol: "tls" },
      tls: { version: "1.3", established: true, client: { server_name: host } },
      clearline: { outcome: "decrypted", listener: "web" },
    });
    assert.match(logged.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    await until("the line at rsyslog, three times", () => atSyslog(host).length === 3);
    const ways = atSyslog(host).map(([way, ...rest]) => [way, rest.slice(0, 3).join(" ")]);
    const same = "local3 info session";
    assert.deepEqual(ways.sort(), [
      ["tcp", same],
      ["tls", same],
      ["udp", same],
    ]);
    await until("the line in the file", () =>
      globSync(join(node.folder, "log", "*.jsonl")).some((file) => readFileSync(file, "utf8").includes(host)),
    );
  });

  test("Prometheus scrapes the node, loads the rules, and answers every query of the dashboard", async () => {
    // A failure with a cause: the client does not trust the CA.
    const refused = await curl({ port: node.forward("web") }, pki.root.certificate, [`https://refuses.${DOMAIN}/`]);
    assert.notEqual(refused.code, 0);
    await node.session(`refuses.${DOMAIN}`);
    const text = await until("metrics with the worker's first report", async () => {
      const answer = await fetch(`${new URL(node.url).origin}/metrics`, { headers: bearer(node) });
      const scraped = await answer.text();
      return scraped.includes("clearline_worker_memory_bytes") && scraped;
    });
    const { code, stdout, stderr } = await run(PROMTOOL, ["check", "metrics"], { input: text });
    assert.deepEqual([code, stdout, stderr], [0, "", ""]);
    assert.match(text, /^clearline_handshake_seconds_bucket\{leg="client",version="TLSv1\.3",le="10"\} [1-9]/m);
    assert.match(
      text,
      /^clearline_session_failures_total\{listener="web",outcome="clientRefusedCertificate",cause="unknown_ca"\} 1$/m,
    );
    assert.match(text, /^clearline_build_info\{version="[\d.]+",node="26\./m);

    await using prometheus = await startPrometheus(node, folder);
    const metric = "clearline_build_info";
    await until("a scrape", async () => (await prometheus.query(metric)).data.result.length === 1);
    const { data } = await prometheus.get<{ data: { groups: { rules: { health: string; lastError?: string }[] }[] } }>(
      "rules",
    );
    const rules = data.groups.flatMap((group) => group.rules);
    assert.ok(rules.length >= 10);
    assert.deepEqual(
      rules.filter(({ lastError }) => lastError),
      [],
    );
    const { panels } = JSON.parse(readFileSync("packaging/grafana/clearline.json", "utf8")) as {
      panels: { title: string; targets?: { expr: string }[] }[];
    };
    const known = new Set(text.match(/^(?:clearline|nodejs|process)_\w+/gm));
    for (const { title, targets = [] } of panels) {
      for (const { expr } of targets) {
        const written = expr
          .replaceAll("$job", "clearline")
          .replaceAll("$instance", ".*")
          .replaceAll("$__rate_interval", "1m");
        assert.equal((await prometheus.query(written)).status, "success", `${title}: ${written}`);
        // Some metrics are there only with a tool or a feed, or when something went wrong.
        const names = (expr.match(/\b(?:clearline|nodejs)_\w+/g) ?? []).filter(
          (name) => !/_(?:tool|feed)_|evicted|refused|reasons/.test(name),
        );
        for (const name of names) assert.ok(known.has(name), `${title}: the node has no metric ${name}`);
      }
    }
  });

  test("The alert rules say what they should, as promtool tests them", async () => {
    assert.equal((await run(PROMTOOL, ["check", "rules", "packaging/prometheus/alerts.yaml"])).code, 0);
    const { code, stdout, stderr } = await run(PROMTOOL, ["test", "rules", "packaging/prometheus/alerts.test.yaml"]);
    assert.equal(code, 0, stdout + stderr);
  });

  test("Webhooks are told of a new CA, a failed reload and a dead worker", async () => {
    await until("the CAs of the first start", () => events.filter(({ event }) => event === "ca.made").length === 4);
    node.rewrite({ listeners: [] });
    assert.equal((await node.command("reload")).code, 2);
    await until("the failed reload", () => events.some(({ event }) => event === "reload.failed"));
    node.rewrite({});
    const [worker] = (await node.stats()).workers;
    process.kill(worker!.pid, "SIGKILL");
    const died = await until("the dead worker", () => events.find(({ event }) => event === "worker.died"));
    assert.deepEqual(died.details, { worker: 0, how: "SIGKILL" });
    await until("a new worker", async () => (await node.stats()).workers[0]?.pid !== worker!.pid);
    await node.stop();
  });
});

/** In the same package. */
const PROMTOOL = "/usr/bin/promtool";

function bearer(node: TestNode): { authorization: string } {
  return { authorization: `Bearer ${readFileSync(join(node.folder, "data/token"), "utf8").trim()}` };
}

interface Answer {
  readonly status: string;
  readonly data: { readonly result: readonly unknown[] };
}

/** A Prometheus of the test's own: its port is free, and its data are in the test's folder. */
async function startPrometheus(node: TestNode, folder: string) {
  const port = await freePort();
  const file = join(folder, "prometheus.yml");
  const scrape = {
    ...{ job_name: "clearline", scrape_interval: "1s" },
    authorization: { credentials_file: join(node.folder, "data/token") },
    static_configs: [{ targets: [new URL(node.url).host] }],
  };
  const rules = { rule_files: [resolve("packaging/prometheus/alerts.yaml")], global: { evaluation_interval: "1s" } };
  writeFileSync(file, JSON.stringify({ ...rules, scrape_configs: [scrape] }));
  const process = start(program("prometheus"), [
    ...[`--config.file=${file}`, `--storage.tsdb.path=${join(folder, "tsdb")}`],
    ...[`--web.listen-address=127.0.0.1:${port}`, "--log.level=warn"],
  ]);
  await accepts(port);
  await until("a ready Prometheus", async () => (await fetch(`http://127.0.0.1:${port}/-/ready`)).ok);
  const get = async <T>(path: string) => (await (await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)).json()) as T;
  return {
    get,
    query: (expr: string) => get<Answer>(`query?${new URLSearchParams({ query: expr })}`),
    [Symbol.asyncDispose]: async () => void (await process.stop()),
  };
}

function startRsyslog(
  pki: Pki,
  folder: string,
  seen: string,
  ports: Readonly<Record<"udp" | "tcp" | "tls", number>>,
): Program {
  writeFileSync(seen, "");
  const file = join(folder, "rsyslog.conf");
  writeFileSync(
    file,
    `global(workDirectory="${folder}" net.enableDNS="off" maxMessageSize="64k"
  defaultNetstreamDriverCAFile="${pki.root.certificate}"
  defaultNetstreamDriverCertFile="${pki.server.ecdsa.certificate}"
  defaultNetstreamDriverKeyFile="${pki.server.ecdsa.key}")
module(load="imudp") module(load="imtcp")
input(type="imudp" address="127.0.0.1" port="${ports.udp}" name="udp")
input(type="imtcp" address="127.0.0.1" port="${ports.tcp}" name="tcp")
input(type="imtcp" address="127.0.0.1" port="${ports.tls}" name="tls" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="seen" type="string" string="%inputname% %syslogfacility-text% %syslogseverity-text% %msgid% %msg%\\n")
action(type="omfile" file="${seen}" template="seen")
`,
  );
  return start(program("rsyslog"), ["-n", "-f", file, "-i", join(folder, "rsyslog.pid")]);
}
