import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Session } from "./record.ts";
import { compileHost, compileQuery, hostsOf, isFoundByCertificate, type SessionQuery } from "./search.ts";
import { openSession } from "./session.ts";

function sessionWith(news: Partial<Session>): Session {
  const client = { address: "192.0.2.7", port: 50000 };
  const birth = { id: "s1", worker: 0, listener: "proxy", mode: "explicit", client, server: null } as const;
  return { ...openSession({ ...birth, state: "EST:INIT:INIT:INIT" }, 1000), ...news };
}

function certificate(subject: string, ...names: string[]): Session["certificate"] {
  return { subject, names, issuer: "CN=R3", sha256: "", notBefore: 0, notAfter: 0, faults: [] };
}

const HOSTS: [query: string, name: string, found: boolean][] = [
  ["www.example.com", "www.example.com", true],
  ["WWW.Example.COM.", "www.example.com", true],
  ["example.com", "www.example.com", false],
  ["www.example.com", "*.example.com", true],
  ["a.www.example.com", "*.example.com", false],
  ["example.com", "*.example.com", false],
  ["*.example.com", "www.example.com", true],
  ["*.example.com", "a.b.example.com", true],
  ["*.example.com", "example.com", false],
  ["*.example.com", "*.example.com", true],
  ["*.example.com", "notexample.com", false],
  ["mail*", "mail.example.com", true],
  ["mail*", "*.example.com", false],
  ["*exam*e*", "www.example.com", true],
  ["*", "anything", true],
  ["www.example.com", "wwwxexample.com", false],
  ["a.*.c", "a.b.c", true],
  ["2001:db8::1", "2001:db8::1", true],
];
for (const [query, name, found] of HOSTS) {
  test(`A search for ${query} ${found ? "finds" : "does not find"} ${name}`, () => {
    assert.equal(compileHost(query).matches(name), found);
  });
}

test("A pattern with * matches like the regular expression of the same meaning", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "*", "."), minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(letters, fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 12 }), (query, name) => {
      fc.pre(query.includes("*") && !query.endsWith("."));
      const same = new RegExp(`^${query.replaceAll(".", "\\.").replaceAll(/\*+/g, ".*")}$`);
      assert.equal(compileHost(query).matches(name), same.test(name));
    }),
  );
});

test("Only the names of an exact search can match it", () => {
  fc.assert(
    fc.property(fc.domain(), fc.domain(), (query, name) => {
      const { names, matches } = compileHost(query);
      assert.equal(matches(name), names!.includes(name));
    }),
  );
});

test("A session is found by its SNI, its CONNECT host, and its certificate's names and common name", () => {
  const session = sessionWith({
    sni: "A.example",
    connectHost: "b.example.",
    certificate: certificate("C=US, O=X, CN=c.example", "d.example", "*.e.example"),
  });
  assert.deepEqual(hostsOf(session), ["a.example", "b.example", "d.example", "*.e.example", "c.example"]);
});

const SUBJECT = "C=US, O=Example Inc, CN=*.example.com";
for (const [query, found] of [
  ["O=Example Inc", true],
  ["o=EXAMPLE", true],
  ["c=us*cn=", true],
  [SUBJECT, true],
  ["O=Inc", false],
  ["cn=*c=us", false],
] as const) {
  test(`A search for the subject ${query} ${found ? "finds" : "does not find"} ${SUBJECT}`, () => {
    const session = sessionWith({ certificate: certificate(SUBJECT) });
    assert.equal(compileQuery({ subject: query })(session), found);
    assert.equal(compileQuery({ subject: query })(sessionWith({})), false);
  });
}

test("A session of another SNI is found by its certificate's name as a host, and not as an SNI", () => {
  const other = sessionWith({ sni: "www.example.com", certificate: certificate("CN=x", "*.example.com", "a.test") });
  const unnamed = sessionWith({ certificate: certificate("CN=x", "a.test") });
  const named = sessionWith({ connectHost: "A.test." });
  const answers = [other, unnamed, named].map((session) => [
    compileQuery({ host: "a.test" })(session),
    compileQuery({ sni: "a.test" })(session),
    isFoundByCertificate({ host: "a.test" }, session),
  ]);
  assert.deepEqual(answers, [
    [true, false, true],
    [true, false, false],
    [true, true, false],
  ]);
});

const SESSION = sessionWith({ state: "EST:EST:INIT:INIT", verdict: "bypass", sni: "a.example" });
const QUERIES: [SessionQuery, boolean][] = [
  [{}, true],
  [{ state: "EST:EST" }, true],
  [{ state: "est:est:init:init" }, true],
  [{ state: "EST:E" }, false],
  [{ state: "EST:SYN_SENT" }, false],
  [{ verdict: "bypass", host: "a.example", listener: "proxy", client: "192.0.2.7" }, true],
  [{ verdict: "none" }, false],
  [{ verdict: "bypass", host: "b.example" }, false],
  [{ listener: "prox" }, false],
  [{ client: "192.0.2.70" }, false],
  [{ client: "192.0.2.0/24" }, true],
  [{ client: "192.0.3.0/24" }, false],
  [{ client: "::/0" }, false],
  [{ client: "nobody" }, false],
];
for (const [query, found] of QUERIES) {
  test(`The query ${JSON.stringify(query)} ${found ? "finds" : "does not find"} the session`, () => {
    assert.equal(compileQuery(query)(SESSION), found);
  });
}
