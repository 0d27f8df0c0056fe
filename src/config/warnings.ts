import { feedRow } from "./feed.ts";
import { listenerRow } from "./listener.ts";
import { located } from "./listening.ts";
import { certificateCondition } from "./policy-section.ts";
import { show } from "./problem.ts";
import type { Located, Row } from "./row.ts";
import type { Config } from "./schema.ts";
import { toolRow } from "./tool.ts";

/** What works, but has a price that the user should know: one sentence each. */
export function warningsOf(config: Config): string[] {
  return [
    ...located("feeds", config.feeds).flatMap((feed) => entryWarnings(feed, feedRow(feed.value))),
    ...located("tools", config.tools).flatMap((tool) => entryWarnings(tool, toolRow(tool.value))),
    ...located("listeners", config.listeners).flatMap((one) => entryWarnings(one, listenerRow(one.value))),
    ...lateAlpn(config),
    ...oldVersions(config),
    ...weakTls12(config),
  ];
}

function entryWarnings<Value>({ path, value }: Located<Value>, { warnings }: Row<Value>): string[] {
  return (warnings?.(value) ?? []).map(({ path: key, says }) => `${path}${key && `.${key}`} ${says}`);
}

/**
 * The ALPN offer to the server follows from the tools that are expected before its certificate is seen. A rule on the
 * certificate may then add a tool that takes no HTTP/2, after another rule let HTTP/2 be negotiated. Whether both rules match
 * one session is known only when it happens.
 */
function lateAlpn({ policy: { rules }, tools }: Config): string[] {
  const limiting = tools.filter(({ alpn, flows }) => alpn && flows.includes("decrypted")).map(({ name }) => name);
  const allowing = rules.findIndex(
    (rule) =>
      rule.action === "decrypt" &&
      rule.alpn === undefined &&
      rule.tools !== undefined &&
      certificateCondition(rule.match) === undefined &&
      !rule.tools.some((name) => limiting.includes(name)),
  );
  if (allowing < 0) return [];
  return rules.flatMap(({ action, match, tools: named = [] }, index) => {
    const condition = certificateCondition(match);
    const late = named.findIndex((name) => limiting.includes(name));
    if (action !== "decrypt" || condition === undefined || late < 0) return [];
    return [
      `policy.rules[${index}].tools[${late}] is ${show(named[late])}, which takes no HTTP/2 (alpn), but may be added too late: the rule's ${condition} is known only with the server's certificate, and policy.rules[${allowing}] may have allowed HTTP/2 before. Give that rule alpn: http/1.1`,
    ];
  });
}

function weakTls12({ policy: { versions } }: Config): string[] {
  if (!versions.weakTls12) return [];
  return [
    "policy.versions.weakTls12 is true: a Diffie-Hellman group of 1,024 bits can be broken, and a signature with SHA-1 forged. Better bypass or replace the old peers",
  ];
}

function oldVersions({ policy: { versions } }: Config): string[] {
  if (versions.min !== "SSLv3") return [];
  const price =
    versions.ssl3Suites === "rc4"
      ? "RC4 leaks what is sent again and again, such as cookies and passwords"
      : "The POODLE attack (CVE-2014-3566) reads the plaintext of its block ciphers and cannot be fixed; policy.versions.ssl3Suites: rc4 avoids it, at the price of RC4";
  return [`policy.versions.min is SSLv3: SSL 3.0 is broken. ${price}. Allow it only where a peer speaks nothing newer`];
}
