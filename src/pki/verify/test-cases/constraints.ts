import { encodeExtension } from "../../x509/certificate-writing.ts";
import { encode, encodeInteger, TAG } from "../../x509/der.ts";
import { OID } from "../../x509/oid.ts";
import { accepted, below, type CertificateCase, ROOT, refused, type Shown } from "./certificate-case.ts";
import { directory, dns, email, ip, nameConstraints, subnet, upn, uri, type Wanted, write } from "./writing.ts";

const PERMITTED = ["PERMITTED_VIOLATION"];
const EXCLUDED = ["EXCLUDED_VIOLATION"];
const BYTE_MASK = "255.255.255.0";
const WWW = "www.example.com";

type Subtrees = Parameters<typeof nameConstraints>[0];

/** A server's certificate with these names below a CA with these constraints. */
const under = (subtrees: Subtrees, names: readonly Buffer[], host: string, more: Wanted = {}) =>
  below({ extensions: [nameConstraints(subtrees)] }, { names, ...more }, host);
const permitted = (tree: Buffer, name: Buffer, host = WWW) => under({ permitted: [tree] }, [name], host);
const excluded = (tree: Buffer, name: Buffer, host = WWW) => under({ excluded: [tree] }, [name], host);

const many = (count: number, prefix: string) => Array.from({ length: count }, (_, n) => dns(`${prefix}${n}.test`));
const policies = (oid: string) =>
  encodeExtension(
    OID.certificatePolicies,
    false,
    encode(TAG.sequence, encode(TAG.sequence, encode(TAG.oid, Buffer.from(oid, "hex")))),
  );
const explicitPolicy = encodeExtension(
  OID.policyConstraints,
  true,
  encode(TAG.sequence, encode(0x80, encodeInteger(Buffer.from([0])).subarray(2))),
);

/** nameConstraints and policyConstraints. */
export const CONSTRAINTS: readonly CertificateCase[] = [
  accepted("a permitted DNS name", "rfc5280::nc::permitted-dns-match", permitted(dns("example.com"), dns(WWW))),
  accepted(
    "a permitted DNS name, two labels below",
    "rfc5280::nc::permitted-dns-match-more",
    permitted(dns("example.com"), dns("a.b.example.com"), "a.b.example.com"),
  ),
  accepted(
    "a permitted DNS name in constraints that are not critical",
    "webpki::nc::permitted-dns-match-noncritical",
    below({ extensions: [nameConstraints({ permitted: [dns("example.com")] }, false)] }),
  ),
  refused(
    "a DNS name that is not permitted",
    "rfc5280::nc::permitted-dns-mismatch",
    permitted(dns("example.org"), dns(WWW)),
    PERMITTED,
  ),
  refused(
    "a DNS name that only ends like the permitted one",
    undefined,
    permitted(dns("example.com"), dns("not-example.com"), "not-example.com"),
    PERMITTED,
  ),
  refused("an excluded DNS name", "rfc5280::nc::excluded-dns-match", excluded(dns("example.com"), dns(WWW)), EXCLUDED),
  refused(
    "an excluded DNS name beside others",
    "rfc5280::nc::excluded-dns-match-second",
    under({ excluded: [dns("bad.example.com")] }, [dns(WWW), dns("bad.example.com")], WWW),
    EXCLUDED,
  ),
  refused(
    "a DNS name that is permitted and excluded",
    "rfc5280::nc::excluded-match-permitted-and-excluded",
    under({ permitted: [dns("example.com")], excluded: [dns("example.com")] }, [dns(WWW)], WWW),
    EXCLUDED,
  ),
  refused("excluded DNS names in upper case", undefined, excluded(dns("Example.COM"), dns(WWW)), EXCLUDED),
  refused("everything is excluded", undefined, excluded(dns(""), dns(WWW)), EXCLUDED),
  accepted(
    "constraints of another kind",
    "rfc5280::nc::permitted-different-constraint-type",
    permitted(subnet("192.0.2.0", BYTE_MASK), dns(WWW)),
  ),
  accepted(
    "a wildcard below a permitted name",
    "webpki::nc::nc-permits-dns-san-pattern",
    permitted(dns("example.com"), dns("*.example.com")),
  ),
  refused(
    "a wildcard that covers more than what is permitted",
    "cve::cve-2025-61727-nc-permits-variant",
    permitted(dns(WWW), dns("*.example.com")),
    PERMITTED,
  ),
  refused(
    "a wildcard that covers an excluded name",
    "cve::cve-2025-61727",
    excluded(dns(WWW), dns("*.example.com"), WWW),
    EXCLUDED,
  ),
  refused(
    "the same, for another host",
    "rfc5280::nc::nc-forbids-dnsname-wildcard-san",
    excluded(dns("bad.example.com"), dns("*.Example.com")),
    EXCLUDED,
  ),
  accepted(
    "a wildcard above an excluded name that it does not cover",
    undefined,
    excluded(dns("a.b.example.com"), dns("*.example.com")),
  ),
  accepted(
    "a permitted IPv4 address",
    "rfc5280::nc::permitted-ipv4-match",
    permitted(subnet("192.0.2.0", BYTE_MASK), ip("192.0.2.1"), "192.0.2.1"),
  ),
  refused(
    "an IPv4 address that is not permitted",
    "rfc5280::nc::permitted-ip-mismatch",
    permitted(subnet("192.0.2.0", BYTE_MASK), ip("192.0.3.1"), "192.0.3.1"),
    PERMITTED,
  ),
  refused(
    "an excluded IPv4 address",
    "rfc5280::nc::excluded-ipv4-match",
    excluded(subnet("192.0.2.0", BYTE_MASK), ip("192.0.2.1"), "192.0.2.1"),
    EXCLUDED,
  ),
  refused(
    "an excluded IPv6 address",
    "rfc5280::nc::excluded-ipv6-match",
    excluded(subnet("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ip("::1"), "::1"),
    EXCLUDED,
  ),
  refused(
    "a constraint of addresses without a mask",
    "rfc5280::nc::invalid-ipv4-address",
    permitted(ip("127.0.0.1"), ip("127.0.0.1"), "127.0.0.1"),
    ["UNSUPPORTED_NAME_SYNTAX"],
  ),
  accepted(
    "a permitted subject",
    "rfc5280::nc::permitted-dn-match",
    under({ permitted: [directory("foo")] }, [dns(WWW)], WWW, { subject: "foo" }),
  ),
  refused(
    "a subject that is not permitted",
    "rfc5280::nc::permitted-dn-mismatch",
    under({ permitted: [directory("foo")] }, [dns(WWW)], WWW, { subject: "bar" }),
    PERMITTED,
  ),
  refused(
    "an excluded subject",
    "rfc5280::nc::excluded-dn-match",
    under({ excluded: [directory("foo")] }, [dns(WWW)], WWW, { subject: "foo" }),
    EXCLUDED,
  ),
  refused(
    "an excluded directory name beside the subject",
    "rfc5280::nc::excluded-dn-match-sub-mismatch",
    under({ excluded: [directory("foo")] }, [dns(WWW), directory("foo")], WWW, { subject: "bar" }),
    EXCLUDED,
  ),
  accepted(
    "a permitted e-mail address",
    "rfc5280::nc::nc-permits-email-exact",
    under({ permitted: [email("a@example.com")] }, [dns(WWW), email("a@example.com")], WWW),
  ),
  {
    what: "an e-mail address that is not permitted",
    shown: under({ permitted: [email("a@example.com")] }, [dns(WWW), email("b@example.com")], WWW),
    found: PERMITTED,
    browsers: "differ",
    because:
      "RFC 5280, section 4.2.1.10. Some versions of browsers do not look at e-mail addresses in a server's certificate.",
  },
  refused(
    "an excluded URI",
    undefined,
    under({ excluded: [uri("bad.example")] }, [dns(WWW), uri("http://bad.example/")], WWW),
    EXCLUDED,
  ),
  refused(
    "an excluded other name",
    "rfc5280::nc::nc-forbids-othername",
    under({ excluded: [upn("a@b")] }, [dns(WWW), upn("a@b")], WWW),
    ["UNSUPPORTED_CONSTRAINT_TYPE"],
  ),
  accepted(
    "an excluded other name that nobody has",
    "rfc5280::nc::nc-forbids-othername-noop",
    under({ excluded: [upn("a@b")] }, [dns(WWW)], WWW),
  ),
  refused(
    "an intermediate's own name that the root excludes",
    "rfc5280::nc::intermediate-with-san-rejected-by-root-nc",
    rootConstraints({ excluded: [dns("ca.example.com")] }, { names: [dns("ca.example.com")] }),
    EXCLUDED,
  ),
  accepted(
    "an intermediate that narrows what the root permits",
    "rfc5280::nc::restrictive-permits-in-intermediates-narrows",
    rootConstraints(
      { permitted: [dns("com")] },
      { extensions: [nameConstraints({ permitted: [dns("example.com")] })] },
    ),
  ),
  refused(
    "an intermediate that widens what the root permits",
    "rfc5280::nc::restrictive-permits-in-intermediates-widens",
    rootConstraints(
      { permitted: [dns("a.example.com")] },
      { extensions: [nameConstraints({ permitted: [dns("example.com")] })] },
    ),
    PERMITTED,
  ),
  {
    what: "a permitted name with a leading dot",
    limbo: "rfc5280::nc::invalid-dnsname-leading-period",
    shown: permitted(dns(".example.com"), dns(WWW)),
    found: [],
    browsers: "accept",
    because: "RFC 5280 does not allow the dot, but private CAs have it, and browsers read it as OpenSSL does.",
  },
  refused(
    "constraints of an expired CA are still held",
    undefined,
    below({ from: -60, to: -1, extensions: [nameConstraints({ permitted: [dns("example.org")] })] }),
    [...PERMITTED, "CERT_HAS_EXPIRED"],
  ),
  refused(
    "thousands of constraints for thousands of names",
    "pathological::nc-dos-2",
    under({ permitted: [...many(2048, "t"), dns("test")], excluded: many(2048, "x") }, many(2048, "t"), "t0.test"),
    ["UNSPECIFIED"],
  ),
  accepted(
    "a policy that a CA demands and the certificate has",
    undefined,
    below({ extensions: [policies("2a0304"), explicitPolicy] }, { extensions: [policies("2a0304")] }),
  ),
  refused(
    "a policy that a CA demands and the certificate has not",
    undefined,
    below({ extensions: [policies("2a0304"), explicitPolicy] }),
    ["NO_EXPLICIT_POLICY"],
  ),
];

function rootConstraints(subtrees: Subtrees, intermediate: Wanted): () => Shown {
  return () => {
    const root = write({
      ca: true,
      subject: "Constrained",
      extensions: [nameConstraints(subtrees)],
      keys: { privateKey: ROOT.key, publicKey: ROOT.publicKey },
    });
    const ca = write({ issuer: root, ca: true, subject: "Intermediate", ...intermediate });
    return { chain: [write({ issuer: ca }), ca], trusted: [root] };
  };
}
