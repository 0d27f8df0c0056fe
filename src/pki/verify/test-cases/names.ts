import { accepted, type CertificateCase, leafOf, named, refused } from "./certificate-case.ts";
import { directory, dns, email, ip, uri } from "./writing.ts";

const MISMATCH = ["HOSTNAME_MISMATCH"];
const OTHER_ADDRESS = ["IP_ADDRESS_MISMATCH"];
const wild = (host: string, ...names: readonly string[]) => named(host, names.map(dns));

/** Names: RFC 9525, with the rules of browsers. */
export const NAMES: readonly CertificateCase[] = [
  accepted("the exact name", "webpki::san::exact-dns-san", leafOf()),
  refused("another domain", "webpki::san::mismatch-domain-san", wild("www.example.org", "www.example.com"), MISMATCH),
  refused("a sibling", "webpki::san::mismatch-subdomain-san", wild("def.example.com", "abc.example.com"), MISMATCH),
  refused("a name below", "webpki::san::mismatch-subdomain-apex-san", wild("abc.example.com", "example.com"), MISMATCH),
  refused(
    "the domain above",
    "webpki::san::mismatch-apex-subdomain-san",
    wild("example.com", "abc.example.com"),
    MISMATCH,
  ),
  accepted("upper case in the certificate", undefined, wild("www.example.com", "WWW.Example.COM")),
  accepted("a trailing dot in the request", undefined, wild("www.example.com.", "www.example.com")),
  accepted("a wildcard", "webpki::san::leftmost-wildcard-san", wild("foo.example.com", "*.example.com")),
  accepted("a name with _ below a wildcard", undefined, wild("foo_bar.example.com", "*.example.com")),
  accepted("a name that begins with _", "rfc5280::san::underscore-dns", wild("_foo.example.com", "_foo.example.com")),
  accepted("an A-label below a wildcard", undefined, wild("xn--bcher-kva.example.com", "*.example.com")),
  refused(
    "a wildcard for two labels",
    "webpki::san::wildcard-match-across-labels-san",
    wild("a.b.example.com", "*.example.com"),
    MISMATCH,
  ),
  refused("a wildcard for the domain itself", undefined, wild("example.com", "*.example.com"), MISMATCH),
  refused(
    "a part of a label as wildcard",
    "webpki::san::wildcard-embedded-leftmost-san",
    wild("baz.example.com", "ba*.example.com"),
    MISMATCH,
  ),
  refused(
    "a wildcard in the middle",
    "webpki::san::wildcard-not-in-leftmost-san",
    wild("foo.bar.example.com", "foo.*.example.com"),
    MISMATCH,
  ),
  refused(
    "a wildcard in an A-label",
    "webpki::san::wildcard-embedded-ulabel-san",
    wild("xn--bliss-1b3c148a.example.com", "xn--*-1b3c148a.example.com"),
    MISMATCH,
  ),
  refused("two wildcards", undefined, wild("a.b.example.com", "*.*.example.com"), MISMATCH),
  refused("only a wildcard", "webpki::san::san-wildcard-only", wild("example.com", "*"), MISMATCH),
  refused(
    "only a wildcard, for a domain of one label",
    "webpki::san::san-wildcard-only-tld",
    wild("com", "*"),
    MISMATCH,
  ),
  refused(
    "a wildcard below a top-level domain",
    "webpki::san::public-suffix-wildcard-san",
    wild("example.com", "*.com"),
    MISMATCH,
  ),
  refused(
    "a wildcard below a public suffix",
    "webpki::san::public-suffix-multi-label-wildcard-san",
    wild("example.co.uk", "*.co.uk"),
    MISMATCH,
  ),
  refused("a wildcard below a public suffix, trailing dot", undefined, wild("example.co.uk.", "*.co.uk."), MISMATCH),
  refused(
    "a wildcard below a public suffix in A-labels",
    undefined,
    wild("example.xn--55qx5d.cn", "*.xn--55qx5d.cn"),
    MISMATCH,
  ),
  accepted("a wildcard below a domain of a public suffix", undefined, wild("www.example.co.uk", "*.example.co.uk")),
  accepted(
    "a wildcard below a suffix of a private owner",
    "webpki::san::public-suffix-private-namespace-wildcard-san",
    wild("example.s3.amazonaws.com", "*.s3.amazonaws.com"),
  ),
  refused(
    "a wildcard below a name of one label that is no public suffix",
    undefined,
    wild("host.internal", "*.internal"),
    MISMATCH,
  ),
  accepted("a wildcard below two labels of a private domain", undefined, wild("www.corp.internal", "*.corp.internal")),
  refused("no subjectAltName", "webpki::san::no-san", leafOf({ without: ["subjectAltName"] }), MISMATCH),
  refused(
    "the host only in the common name",
    "webpki::cn::not-in-san",
    wild("www.example.com", "other.example.com"),
    MISMATCH,
  ),
  accepted(
    "a critical subjectAltName beside a subject",
    "webpki::san::san-critical-with-nonempty-subject",
    leafOf({ sanCritical: true }),
  ),
  accepted(
    "a subjectAltName that is not critical without a subject",
    "rfc5280::san::noncritical-with-empty-subject",
    leafOf({ subject: "" }),
  ),
  refused(
    "characters beyond ASCII",
    "webpki::san::unicode-emoji-san",
    wild("xn--628h.example.com", "😜.example.com"),
    MISMATCH,
  ),
  refused("a NUL behind the host", undefined, wild("www.example.com", "www.example.com\0.evil.example"), MISMATCH),
  refused("a list in one name", undefined, wild("www.example.com", "a.example, www.example.com"), MISMATCH),
  refused("the host as a URI", undefined, named("www.example.com", [uri("https://www.example.com/")]), MISMATCH),
  refused("the host as an e-mail address", undefined, named("www.example.com", [email("www.example.com")]), MISMATCH),
  refused(
    "the host as a directory name",
    undefined,
    named("www.example.com", [directory("www.example.com")]),
    MISMATCH,
  ),
  accepted("an IPv4 address", "webpki::san::exact-localhost-ip-san", named("127.0.0.1", [ip("127.0.0.1")])),
  accepted("an IPv6 address", undefined, named("2001:DB8:0::1", [ip("2001:db8::1")])),
  refused("another IPv4 address", undefined, named("192.0.2.2", [ip("192.0.2.1")]), OTHER_ADDRESS),
  refused("an address as a DNS name", "rfc5280::san::ip-in-dns", named("127.0.0.1", [dns("127.0.0.1")]), OTHER_ADDRESS),
  refused("an address below a wildcard", undefined, named("192.0.2.1", [dns("*.0.2.1")]), OTHER_ADDRESS),
  refused("an IPv4 address in 16 bytes", undefined, named("192.0.2.1", [ip("::ffff:192.0.2.1")]), OTHER_ADDRESS),
  refused(
    "an address only in the common name",
    "webpki::cn::ipv4-hex-mismatch",
    named("192.0.2.1", [dns("x.example")], { subject: "192.0.2.1" }),
    OTHER_ADDRESS,
  ),
  accepted(
    "thousands of names",
    undefined,
    wild("n9999.example.com", ...Array.from({ length: 10_000 }, (_, n) => `n${n}.example.com`)),
  ),
];
