import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { compilePolicy, type Policy } from "./evaluate.ts";
import type { CertificateFacts, Facts, Verdict } from "./facts.ts";
import type { PolicySource, RuleSource } from "./rule.ts";
import { faultActions } from "./test-policy.ts";

const DROP_ALL = faultActions("drop");

function policy(changes: Partial<PolicySource> = {}): Policy {
  return compilePolicy({
    default: "decrypt",
    versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "bypass", aboveMax: "drop" },
    lists: { bypass: [], decrypt: [] },
    rules: [],
    certificate: DROP_ALL,
    clientCertificate: { action: "bypass", for: 3_600_000 },
    ...changes,
  });
}

/** Rules as "action condition=value condition=value", named r0, r1… */
function rules(...lines: string[]): RuleSource[] {
  return lines.map((line, index) => {
    const [action, ...conditions] = line.split(" ");
    const match = Object.fromEntries(
      conditions.map((condition) => [condition.split("=")[0], condition.split("=")[1]?.split("|")]),
    );
    return { name: `r${index}`, action: action as RuleSource["action"], match };
  });
}

const SYN = {
  listener: "proxy",
  client: { address: "10.0.0.9", port: 51000 },
  server: { address: "192.0.2.5", port: 443 },
};
const HELLO: Facts = { ...SYN, sni: "www.example.com", connectHost: null, versions: [0x0304, 0x0303] };
const NO_SNI: Facts = { ...HELLO, sni: null };
const CONNECT: Facts = { ...HELLO, connectHost: "www.example.com", upgraded: true };
const GOOD: CertificateFacts = {
  names: ["www.example.com", "*.example.net"],
  issuer: "CN=R3, O=Let's Encrypt, C=US",
  faults: [],
};
const withFaults = (...faults: CertificateFacts["faults"]) => ({ ...GOOD, faults });

/** A verdict as "action by rule in phase", with "?" when it is provisional; "-" for none. */
function line(verdict: Verdict | undefined): string {
  return verdict ? `${verdict.action}${verdict.provisional ? "?" : ""} by ${verdict.rule} in ${verdict.phase}` : "-";
}

/** The verdicts of the three phases. */
function story(judge: Policy, hello: Facts, certificate: CertificateFacts = GOOD): string[] {
  const syn: Facts = { ...SYN, server: hello.server };
  return [line(judge.onNetwork(syn)), line(judge.onHello(hello)), line(judge.onCertificate({ ...hello, certificate }))];
}

describe("Without SNI, the certificate's names stand for the host, and the stricter reading counts", () => {
  const exact = "www.exact.example";
  const read = (source: Partial<PolicySource>, names: string[], faults: CertificateFacts["faults"] = []) =>
    line(policy(source).onCertificate({ ...NO_SNI, certificate: { ...GOOD, names, faults } })).split(" in ")[0];
  const byDefault = "decrypt by default";
  const CASES: [line: string, names: string[], expected: string][] = [
    // A drop holds if one name may be the host.
    ["drop host=www.exact.example", ["*.exact.example"], "drop by r0"],
    ["drop host=www.exact.example", ["other.example", "*.EXACT.example"], "drop by r0"],
    ["drop host=www.exact.example", [exact], "drop by r0"],
    ["drop host=www.exact.example", ["*.www.exact.example", "exact.example", "*.example"], byDefault],
    ["drop host=*.exact.example", ["*.exact.example"], "drop by r0"],
    ["drop host=*.exact.example", ["*.a.exact.example"], "drop by r0"],
    ["drop host=*.a.exact.example", ["*.exact.example"], byDefault],
    // A bypass holds if all names are in it, each wildcard as a whole.
    ["bypass host=www.exact.example", ["*.exact.example"], byDefault],
    ["bypass host=www.exact.example", [exact, "*.exact.example"], byDefault],
    ["bypass host=www.exact.example", [exact, "other.example"], byDefault],
    ["bypass host=www.exact.example", [exact], "bypass by r0"],
    ["bypass host=www.exact.example", [exact, "192.0.2.1", "2001:db8::1"], "bypass by r0"],
    ["bypass host=www.exact.example", ["192.0.2.1"], byDefault],
    ["bypass host=www.exact.example", [], byDefault],
    ["bypass host=*.exact.example|exact.example", ["exact.example", "*.exact.example"], "bypass by r0"],
    ["bypass host=*.example", ["*.a.exact.example", exact], "bypass by r0"],
  ];
  for (const [rule, names, expected] of CASES) {
    test(`${rule}; ${names.join(" ") || "no name"}: ${expected}`, () => {
      assert.equal(read({ rules: rules(rule) }, names), expected);
      // A list reads as a rule does.
      const [action, hosts] = rule.split(" host=") as [string, string];
      if (action !== "bypass") return;
      const lists = { bypass: hosts.split("|"), decrypt: [] };
      assert.equal(read({ lists }, names), expected.replace("r0", "bypass list"));
    });
  }

  test("A decrypt, where the default is bypass, holds if one name may be the host", () => {
    const lists = { bypass: [], decrypt: [exact] };
    assert.equal(read({ default: "bypass", lists }, ["other.example", "*.exact.example"]), "decrypt by decrypt list");
    assert.equal(read({ default: "bypass", lists }, ["other.example"]), "bypass by default");
  });

  test("A bypass needs a certificate that somebody vouches for, unless its rule names the fault", () => {
    const rule = { rules: rules(`bypass host=${exact}`), certificate: faultActions("decrypt") };
    for (const fault of ["expired", "selfSigned", "unknownIssuer", "invalid", "revoked"] as const) {
      assert.equal(read(rule, [exact], [fault]), byDefault, fault);
      const named = { ...rule, rules: rules(`bypass host=${exact} fault=${fault}`) };
      assert.equal(read(named, [exact], [fault]), "bypass by r0", fault);
    }
    assert.equal(read(rule, [exact], ["hostMismatch"]), "bypass by r0", "of an address that was asked for");
    assert.equal(read({ rules: rules(`drop host=${exact}`) }, [exact], ["selfSigned"]), "drop by r0");
  });

  test("A rule excuses a fault only if all names are in it", () => {
    const excuse = { rules: rules(`decrypt host=${exact} fault=selfSigned`) };
    assert.equal(read(excuse, [exact], ["selfSigned"]), "decrypt by r0");
    assert.equal(read(excuse, [exact, "bank.example"], ["selfSigned"]), "drop by certificate fault");
    assert.equal(read(excuse, ["*.exact.example"], ["selfSigned"]), "drop by certificate fault");
  });
});

describe("The address that is connected to", () => {
  const own = policy({ rules: rules("drop server=127.0.0.0/8|::1", "bypass server=192.0.2.5") });
  const cases = { "0.0.0.0": true, "::": true, "::ffff:0.0.0.0": true, "::ffff:7f00:1": true, "::ffff:0:1": false };
  for (const [address, isDropped] of Object.entries(cases)) {
    test(`${address} ${isDropped ? "is" : "is not"} the machine itself`, () => {
      const verdict = own.onNetwork({ ...SYN, server: { address, port: 443 } });
      assert.equal(line(verdict), isDropped ? "drop by r0 in network" : "-");
    });
  }

  test("A rule that names the unspecified address holds too", () => {
    const strict = policy({ rules: rules("drop server=0.0.0.0/8", "bypass server=127.0.0.1") });
    assert.equal(
      line(strict.onNetwork({ ...SYN, server: { address: "0.0.0.0", port: 443 } })),
      "drop by r0 in network",
    );
  });
});

describe("What decides", () => {
  const CASES: [title: string, source: Partial<PolicySource>, expected: string[]][] = [
    ["Nothing decides: the default, after the last phase", {}, ["-", "-", "decrypt by default in certificate"]],
    ["The default may be bypass", { default: "bypass" }, ["-", "-", "bypass by default in certificate"]],
    [
      "A decrypt rule of the network phase stands when later phases say nothing",
      { default: "drop", rules: rules("decrypt port=443") },
      ["decrypt? by r0 in network", "-", "decrypt by r0 in network"],
    ],
    [
      "A later bypass overrides an earlier decrypt",
      { rules: rules("decrypt client=10.0.0.0/8", "bypass host=*.example.com") },
      ["decrypt? by r0 in network", "bypass by r1 in sni", "bypass by r1 in sni"],
    ],
    [
      "A bypass is final: a later drop does not take it back",
      { rules: rules("drop issuer=*", "bypass host=www.example.com", "decrypt issuer=*") },
      ["-", "bypass by r1 in sni", "bypass by r1 in sni"],
    ],
    [
      "A rule is judged in the latest phase that one of its conditions needs",
      { rules: rules("bypass client=10.0.0.9 host=www.example.com issuer=*encrypt*") },
      ["-", "-", "bypass by r0 in certificate"],
    ],
    [
      "All conditions of a rule must hold",
      {
        rules: rules(
          "bypass host=www.example.com port=8443",
          "drop client=10.0.0.9 listener=web",
          "drop sourcePort=1-50999",
        ),
      },
      ["-", "-", "decrypt by default in certificate"],
    ],
    [
      "One value of a condition is enough",
      { rules: rules("bypass host=a.example|www.example.com port=80|400-500") },
      ["-", "bypass by r0 in sni", "bypass by r0 in sni"],
    ],
    [
      "A rule without conditions matches every flow",
      { rules: rules("drop") },
      ["drop by r0 in network", "drop by r0 in network", "drop by r0 in network"],
    ],
  ];
  for (const [title, source, expected] of CASES)
    test(title, () => assert.deepEqual(story(policy(source), HELLO), expected));
});

describe("The order inside a phase", () => {
  const everything = rules("decrypt host=www.example.com", "bypass host=www.example.com", "drop host=www.example.com");
  const lists = { bypass: ["www.example.com"], decrypt: ["*.example.com"] };
  const CASES: [title: string, source: Partial<PolicySource>, expected: string][] = [
    ["Drop rules come before the lists", { rules: everything, lists }, "drop by r2 in sni"],
    [
      "The bypass list comes before the decrypt list",
      { rules: everything.slice(0, 2), lists },
      "bypass by bypass list in sni",
    ],
    [
      "The decrypt list comes before bypass rules",
      { rules: everything.slice(0, 2), lists: { ...lists, bypass: [] } },
      "decrypt? by decrypt list in sni",
    ],
    ["Bypass rules come before decrypt rules", { rules: everything.slice(0, 2) }, "bypass by r1 in sni"],
    [
      "Rules of a group stay in the order written",
      { rules: rules("bypass host=*.example.com", "bypass host=www.example.com") },
      "bypass by r0 in sni",
    ],
    [
      "A list's addresses are judged in the network phase",
      { lists: { bypass: ["192.0.2.0/24"], decrypt: [] } },
      "bypass by bypass list in network",
    ],
  ];
  for (const [title, source, expected] of CASES)
    test(title, () => assert.equal(line(policy(source).onHello(HELLO)), expected));

  test("Issuer rules come last in the certificate phase, in the order written, but drop rules stay first", () => {
    const source = rules("bypass issuer=*", "decrypt issuer=cn=r3*", "decrypt fault=expired", "drop issuer=*evil*");
    const judge = policy({ rules: source });
    assert.equal(
      line(judge.onCertificate({ ...HELLO, certificate: withFaults("expired") })),
      "decrypt by r2 in certificate",
    );
    assert.equal(line(judge.onCertificate({ ...HELLO, certificate: GOOD })), "bypass by r0 in certificate");
    assert.equal(
      line(judge.onCertificate({ ...HELLO, certificate: { ...GOOD, issuer: "CN=Evil" } })),
      "drop by r3 in certificate",
    );
  });
});

describe("Hosts", () => {
  const judge = policy({ rules: rules("bypass host=www.example.com|*.example.net") });
  test("With neither SNI nor CONNECT host they are judged on the certificate's names", () => {
    assert.deepEqual(story(judge, NO_SNI), ["-", "-", "bypass by r0 in certificate"]);
    assert.deepEqual(story(judge, NO_SNI, { ...GOOD, names: ["*.example.net"] }), [
      "-",
      "-",
      "bypass by r0 in certificate",
    ]);
    assert.deepEqual(story(judge, NO_SNI, { ...GOOD, names: ["*.example.com"] }), [
      "-",
      "-",
      "decrypt by default in certificate",
    ]);
  });
  test("With an SNI the certificate's names do not count", () => {
    assert.deepEqual(story(judge, { ...HELLO, sni: "other.example" }), ["-", "-", "decrypt by default in certificate"]);
  });
  test("An address literal is no host: CONNECT to an address is judged on the certificate's names", () => {
    for (const connectHost of ["192.0.2.5", "2001:db8::1", "[2001:db8::1]"]) {
      assert.deepEqual(story(judge, { ...CONNECT, sni: null, connectHost }), ["-", "-", "bypass by r0 in certificate"]);
    }
  });
  test("The CONNECT host is one more host input", () => {
    const flow = { ...CONNECT, sni: "other.example" };
    assert.deepEqual(story(judge, flow), ["-", "-", "bypass by r0 in certificate"]);
    assert.deepEqual(story(judge, { ...CONNECT, connectHost: "other.example" }), [
      "-",
      "-",
      "bypass by r0 in certificate",
    ]);
  });
  test("A host that a caller leaves out counts as absent once the ClientHello is there", () => {
    const { connectHost: _, ...hello } = HELLO;
    assert.equal(line(judge.onHello({ ...hello, sni: "other.example" })), "-");
    assert.equal(line(judge.onCertificate({ ...SYN, certificate: GOOD })), "bypass by r0 in certificate");
  });
});

describe("Flows that began in plaintext", () => {
  test("Commit in the certificate phase what the hosts say", () => {
    const judge = policy({ lists: { bypass: ["*.example.com"], decrypt: [] } });
    assert.deepEqual(story(judge, CONNECT), ["-", "-", "bypass by bypass list in certificate"]);
  });
  test("Lean on it when the certificate never comes", () => {
    const judge = policy({ lists: { bypass: ["*.example.com"], decrypt: [] } });
    assert.equal(line(judge.verdictSoFar(CONNECT)), "bypass by bypass list in certificate");
    assert.equal(
      line(judge.verdictSoFar({ ...CONNECT, sni: null, connectHost: "other.example" })),
      "decrypt? by default in certificate",
    );
  });
  test("Are judged on hosts and certificate in one phase: a drop rule on the certificate comes first", () => {
    const judge = policy({ lists: { bypass: ["*.example.com"], decrypt: [] }, rules: rules("drop issuer=*encrypt*") });
    assert.deepEqual(story(judge, CONNECT), ["-", "-", "drop by r0 in certificate"]);
    assert.deepEqual(story(judge, HELLO), ["-", "bypass by bypass list in sni", "bypass by bypass list in sni"]);
  });
  test("Are judged in the network phase as all others", () => {
    const judge = policy({ rules: rules("bypass port=443") });
    assert.deepEqual(story(judge, CONNECT)[0], "bypass by r0 in network");
  });
  test("Whose target could not be resolved match no server rule", () => {
    const judge = policy({ rules: rules("bypass server=0.0.0.0/0", "bypass port=1-65535") });
    assert.deepEqual(story(judge, { ...CONNECT, server: null }), ["-", "-", "decrypt by default in certificate"]);
  });
});

describe("Certificate faults", () => {
  const certificate = faultActions("drop", { expired: "decrypt", hostMismatch: "bypass" });
  const CASES: [title: string, source: Partial<PolicySource>, faults: CertificateFacts["faults"], expected: string][] =
    [
      ["A fault has its action", { certificate }, ["hostMismatch"], "bypass by certificate fault in certificate"],
      [
        "Of several faults the strictest action holds",
        { certificate },
        ["expired", "hostMismatch", "selfSigned"],
        "drop by certificate fault in certificate",
      ],
      [
        "A fault whose action is decrypt changes nothing",
        { certificate },
        ["expired"],
        "decrypt by default in certificate",
      ],
      [
        "A flow that is bypassed anyway is not judged by faults",
        { default: "bypass" },
        ["invalid"],
        "bypass by default in certificate",
      ],
      [
        "A decrypt rule without a fault does not excuse one",
        { rules: rules("decrypt host=www.example.com") },
        ["expired"],
        "drop by certificate fault in certificate",
      ],
      [
        "A decrypt rule that names the fault excuses it",
        { rules: rules("decrypt fault=expired host=*.example.com") },
        ["expired"],
        "decrypt by r0 in certificate",
      ],
      [
        "It excuses only the faults it names",
        { rules: rules("decrypt fault=expired") },
        ["expired", "selfSigned"],
        "drop by certificate fault in certificate",
      ],
      [
        "It excuses even when a list decided",
        { lists: { bypass: [], decrypt: ["www.example.com"] }, rules: rules("decrypt fault=expired") },
        ["expired"],
        "decrypt by r0 in certificate",
      ],
      [
        "Two rules excuse two faults",
        { rules: rules("decrypt fault=expired", "decrypt fault=selfSigned") },
        ["expired", "selfSigned"],
        "decrypt by r0 in certificate",
      ],
      [
        "A bypass rule that names the fault bypasses",
        { rules: rules("bypass fault=expired|invalid") },
        ["selfSigned", "expired"],
        "bypass by r0 in certificate",
      ],
    ];
  for (const [title, source, faults, expected] of CASES) {
    for (const flow of [HELLO, CONNECT]) {
      test(`${title}${flow.upgraded ? ", through CONNECT too" : ""}`, () =>
        assert.equal(line(policy(source).onCertificate({ ...flow, certificate: withFaults(...faults) })), expected));
    }
  }
  test("The reason names the faults that decided", () => {
    const verdict = policy({ certificate }).onCertificate({
      ...HELLO,
      certificate: withFaults("hostMismatch", "selfSigned", "invalid"),
    });
    assert.equal(verdict.reason, "The server's certificate is self-signed (selfSigned), invalid (invalid)");
  });
});

describe("Version limits", () => {
  const OLD = { ...HELLO, versions: [0x0302, 0x0301] };
  const NEW = { ...HELLO, versions: [0x0304] };
  const narrow = { min: "TLSv1.2", max: "TLSv1.2", belowMin: "bypass", aboveMax: "drop" } as const;
  test("A client below the minimum gets the action for it, on its hello", () => {
    assert.deepEqual(story(policy(), OLD), ["-", "bypass by versions in sni", "bypass by versions in sni"]);
    assert.equal(policy().onHello(OLD)?.reason, "The client offers at most TLSv1.1, below the minimum TLSv1.2");
    assert.equal(
      policy().onHello({ ...HELLO, versions: [0x0300] })?.reason,
      "The client offers at most SSLv3, below the minimum TLSv1.2",
    );
  });
  test("A client above the maximum gets the action for it", () => {
    assert.deepEqual(story(policy({ versions: narrow }), NEW).slice(1), [
      "drop by versions in sni",
      "drop by versions in sni",
    ]);
    assert.equal(line(policy({ versions: narrow }).onHello(HELLO)), "-");
  });
  test("They hold for flows that began in plaintext, on their hello", () => {
    assert.equal(line(policy().onHello({ ...CONNECT, versions: [0x0301] })), "bypass by versions in sni");
  });
  test("They override a decrypt, but no bypass and no drop", () => {
    assert.equal(
      line(policy({ rules: rules("decrypt host=www.example.com") }).onHello(OLD)),
      "bypass by versions in sni",
    );
    assert.equal(line(policy({ rules: rules("drop host=www.example.com") }).onHello(OLD)), "drop by r0 in sni");
    const bypassing = policy({
      versions: { ...narrow, belowMin: "drop" },
      lists: { bypass: ["www.example.com"], decrypt: [] },
    });
    assert.equal(line(bypassing.onHello({ ...CONNECT, versions: [0x0301] })), "-");
    assert.equal(
      line(bypassing.verdictSoFar({ ...CONNECT, versions: [0x0301] })),
      "bypass by bypass list in certificate",
    );
  });
  test("The limits themselves are within them", () => {
    assert.equal(line(policy({ versions: narrow }).onHello({ ...HELLO, versions: [0x0303] })), "-");
  });
  test("Versions that are not known say nothing", () => {
    assert.equal(line(policy().onHello({ ...HELLO, versions: undefined })), "-");
  });
  test("A server below the minimum gets the action for it, unless the flow is bypassed or dropped anyway", () => {
    assert.equal(line(policy().serverBelowMin(HELLO)), "bypass by versions in certificate");
    assert.equal(line(policy({ default: "drop" }).serverBelowMin(HELLO)), "drop by default in certificate");
  });
});

describe("A client that is known to refuse the node's certificates for a host", () => {
  const known = { certificateRefused: true };
  test("Is bypassed where the flow would be decrypted", () => {
    assert.equal(line(policy().onHello({ ...HELLO, ...known })), "bypass by learnt in sni");
    assert.equal(
      line(policy({ rules: rules("decrypt host=www.example.com") }).onHello({ ...HELLO, ...known })),
      "bypass by learnt in sni",
    );
    assert.equal(
      line(policy().onCertificate({ ...CONNECT, ...known, certificate: GOOD })),
      "bypass by learnt in certificate",
    );
  });
  test("Is not bypassed where policy drops, or the host or address is on the decrypt list", () => {
    const dropping = policy({ rules: rules("drop host=www.example.com") });
    assert.equal(line(dropping.onHello({ ...HELLO, ...known })), "drop by r0 in sni");
    for (const entry of ["www.example.com", HELLO.server!.address]) {
      const listed = policy({ lists: { bypass: [], decrypt: [entry] } });
      assert.doesNotMatch(line(listed.onHello({ ...HELLO, ...known })), /learnt/);
      assert.doesNotMatch(line(listed.onCertificate({ ...HELLO, ...known, certificate: GOOD })), /learnt/);
    }
  });
});

describe("A server at which clients bind their log-in to the channel", () => {
  const known = { channelBound: true };
  const bypassing = { channelBinding: { action: "bypass", for: 1 } } as const;
  test("Is bypassed where the flow would be decrypted and policy says so, and its names are issued apart", () => {
    assert.equal(line(policy(bypassing).onHello({ ...HELLO, ...known })), "bypass by channel binding in sni");
    const late = policy(bypassing).onCertificate({ ...CONNECT, ...known, certificate: GOOD });
    assert.equal(line(late), "bypass by channel binding in certificate");
    const telling = policy({ channelBinding: { action: "tell", for: 1 } });
    for (const one of [telling, policy()]) {
      assert.doesNotMatch(line(one.onHello({ ...HELLO, ...known })), /binding/);
      assert.doesNotMatch(line(one.onCertificate({ ...HELLO, ...known, certificate: GOOD })), /binding/);
    }
  });
  test("Is not bypassed when it is on the decrypt list", () => {
    for (const entry of ["www.example.com", HELLO.server!.address]) {
      const listed = policy({ ...bypassing, lists: { bypass: [], decrypt: [entry] } });
      assert.doesNotMatch(line(listed.onHello({ ...HELLO, ...known })), /binding/);
      assert.doesNotMatch(line(listed.onCertificate({ ...HELLO, ...known, certificate: GOOD })), /binding/);
    }
  });
});

describe("A server that demands a client certificate", () => {
  const known = { clientCertificateDemanded: true };
  test("Is given the action on the hello when the flow would be decrypted", () => {
    assert.equal(line(policy().onHello({ ...HELLO, ...known })), "bypass by client certificate in sni");
    assert.equal(line(policy().onHello({ ...CONNECT, ...known })), "bypass by client certificate in sni");
    const dropping = policy({
      clientCertificate: { action: "drop", for: 1 },
      default: "bypass",
      rules: rules("decrypt host=www.example.com"),
    });
    assert.equal(line(dropping.onHello({ ...HELLO, ...known })), "drop by client certificate in sni");
    assert.equal(line(dropping.onHello({ ...HELLO, ...known, sni: "other.example" })), "-");
  });
  test("Is given it in the certificate phase when that is when it is found out", () => {
    assert.equal(
      line(policy().onCertificate({ ...HELLO, ...known, certificate: GOOD })),
      "bypass by client certificate in certificate",
    );
    assert.equal(
      line(policy().onCertificate({ ...CONNECT, ...known, certificate: GOOD })),
      "bypass by client certificate in certificate",
    );
  });
  test("With a faulty certificate is still dropped for the fault", () => {
    assert.equal(
      line(policy().onCertificate({ ...HELLO, ...known, certificate: withFaults("selfSigned") })),
      "drop by certificate fault in certificate",
    );
  });
  test("Is left alone when the flow is bypassed or dropped anyway", () => {
    assert.equal(
      line(policy({ rules: rules("drop host=www.example.com") }).onHello({ ...HELLO, ...known })),
      "drop by r0 in sni",
    );
  });
});

describe("A CA that validates a domain: acme-tls/1 alone", () => {
  const acme = { alpn: ["acme-tls/1"] };
  test("Is bypassed when no rule decides, whoever holds the key and whatever the certificate", () => {
    assert.equal(line(policy().onHello({ ...HELLO, ...acme })), "bypass by acme-tls/1 in sni");
    assert.equal(line(policy().onHello({ ...HELLO, ...acme, keyHeld: true })), "bypass by acme-tls/1 in sni");
    const inbound = policy({ onMissingKey: { proxy: "drop" } });
    assert.equal(line(inbound.onHello({ ...HELLO, ...acme, keyHeld: false })), "bypass by acme-tls/1 in sni");
    const late = policy().onCertificate({ ...CONNECT, ...acme, certificate: withFaults("selfSigned", "invalid") });
    assert.equal(line(late), "bypass by acme-tls/1 in certificate");
  });
  test("Is not bypassed past rules, lists, another default, or beside another protocol", () => {
    for (const action of ["drop", "decrypt"]) {
      const rule = policy({ rules: rules(`${action} host=www.example.com`) }).onHello({ ...HELLO, ...acme });
      assert.equal(rule?.action, action);
    }
    assert.equal(policy({ default: "drop" }).onHello({ ...HELLO, ...acme }), undefined);
    assert.equal(policy().onHello({ ...HELLO, alpn: ["acme-tls/1", "h2"] }), undefined);
    assert.equal(policy().onHello({ ...HELLO, alpn: [] }), undefined);
  });
});

describe("A server whose key the node does not hold", () => {
  const inbound = { onMissingKey: { proxy: "drop" } } as const;
  const missing = { keyHeld: false };
  test("Is given its listener's action on the hello when the flow would be decrypted", () => {
    assert.equal(line(policy(inbound).onHello({ ...HELLO, ...missing })), "drop by missing key in sni");
    assert.equal(line(policy(inbound).onHello({ ...CONNECT, ...missing })), "drop by missing key in sni");
    assert.equal(line(policy(inbound).onHello({ ...NO_SNI, ...missing })), "drop by missing key in sni");
    const passing = policy({ onMissingKey: { proxy: "bypass" } }).onHello({ ...HELLO, ...missing });
    assert.equal(line(passing), "bypass by missing key in sni");
    assert.match(passing?.reason ?? "", /no key for this server, and listener proxy/);
  });
  test("Is re-signed on any other listener, and where a key is held it is decrypted", () => {
    for (const onMissingKey of [{ other: "drop" }, {}] as const) {
      assert.equal(line(policy({ onMissingKey }).onHello({ ...HELLO, ...missing })), "-");
    }
    assert.equal(line(policy(inbound).onHello({ ...HELLO, keyHeld: true })), "-");
    assert.equal(
      line(policy(inbound).onCertificate({ ...HELLO, keyHeld: true, certificate: GOOD })),
      "decrypt by default in certificate",
    );
    const named = policy({ onMissingKey: {} });
    assert.equal(line(named.onHello({ ...HELLO, ...missing, listener: "constructor" })), "-");
  });
  test("Is left alone when the flow is bypassed or dropped anyway", () => {
    const dropping = policy({ onMissingKey: { proxy: "bypass" }, rules: rules("drop host=www.example.com") });
    assert.equal(line(dropping.onHello({ ...HELLO, ...missing })), "drop by r0 in sni");
    const passing = policy({ ...inbound, rules: rules("bypass host=www.example.com") });
    assert.equal(line(passing.onHello({ ...HELLO, ...missing })), "bypass by r0 in sni");
  });
  test("Is never re-signed, though the certificate speaks against a bypass that the flow leant to", () => {
    const judge = policy({ ...inbound, default: "bypass", rules: rules("decrypt issuer=*R3*") });
    assert.equal(line(judge.onHello({ ...HELLO, ...missing })), "-");
    assert.equal(
      line(judge.onCertificate({ ...HELLO, ...missing, certificate: GOOD })),
      "drop by missing key in certificate",
    );
  });
});

test("A verdict says why, in the words of the configuration", () => {
  const judge = policy({
    lists: { bypass: ["*.bank.example", "198.51.100.0/24"], decrypt: [] },
    rules: rules("decrypt port=443 client=10.0.0.0/8"),
  });
  assert.equal(
    judge.onHello({ ...HELLO, sni: "www.bank.example" })?.reason,
    "The host is on the bypass list: *.bank.example",
  );
  assert.equal(
    judge.onNetwork({ ...SYN, server: { address: "198.51.100.7", port: 1 } })?.reason,
    "The server's address is on the bypass list: 198.51.100.0/24",
  );
  assert.equal(judge.onNetwork(SYN)?.reason, "The rule's conditions hold: client, port");
  assert.equal(
    policy().onCertificate({ ...HELLO, certificate: GOOD }).reason,
    "No rule or list decided; the default is decrypt",
  );
});

describe("What a rule says of its sessions", () => {
  const [first, second] = rules("decrypt host=www.example.com", "decrypt fault=expired");
  const judge = policy({
    rules: [
      { ...first!, tools: ["ips", "dlp"], alpn: "http/1.1" },
      { ...second!, tools: ["quarantine"] },
    ],
  });

  test("The deciding rule's tools and its limit on ALPN are in the verdict, from the phase on in which it is true", () => {
    for (const verdict of [
      judge.onHello(HELLO),
      judge.verdictSoFar(HELLO),
      judge.onCertificate({ ...HELLO, certificate: GOOD }),
    ]) {
      assert.deepEqual([verdict?.tools, verdict?.alpn], [["ips", "dlp"], "http/1.1"]);
    }
  });

  test("A rule that excuses the certificate's faults decides, and names the tools", () => {
    const { rule, tools, alpn } = judge.onCertificate({ ...HELLO, certificate: withFaults("expired") });
    assert.deepEqual([rule, tools, alpn], ["r1", ["quarantine"], undefined]);
  });

  test("A verdict without a rule names no tools: all that take the flow", () => {
    const { rule, tools, alpn } = judge.onCertificate({ ...HELLO, sni: "other.example.net", certificate: GOOD });
    assert.deepEqual([rule, tools, alpn], ["default", undefined, undefined]);
  });
});
