import { T } from "./texts.ts";

/**
 * The one search field. Words may name their field, such as verdict:drop; a word without one is read as what it looks like: an
 * address, a subnet, a Community ID, a JA4 fingerprint, or a host.
 */

/** The words of the field, and the parameter of GET /sessions that each one is. */
export const FIELDS: Readonly<Record<string, string>> = {
  host: "host",
  sni: "sni",
  subject: "subject",
  client: "client",
  server: "server",
  rule: "rule",
  reason: "reason",
  verdict: "verdict",
  outcome: "outcome",
  cause: "cause",
  blame: "blame",
  fault: "fault",
  version: "version",
  state: "state",
  listener: "listener",
  community: "communityId",
  ja4: "ja4",
  since: "since",
  until: "until",
};

const JA4 = /^[tq]\d{2}[di]\d{4}\w{2}_[0-9a-f]{12}_[0-9a-f]{12}$/;
const COMMUNITY = /^1:[A-Za-z\d+/]{27}=$/;
const ADDRESS = /^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]*:[0-9a-f:.]+)(?:\/\d{1,3})?$/i;

export interface Search {
  readonly parameters: Readonly<Record<string, string>>;
  /** What is wrong with a word, in a sentence. */
  readonly problem: string | undefined;
}

export function readSearch(text: string): Search {
  const parameters: Record<string, string> = {};
  let problem: string | undefined;
  for (const [, name, quoted, plain] of text.matchAll(/(?:([a-z0-9]+):(?=\S))?(?:"([^"]*)"|(\S+))/gi)) {
    const value = quoted ?? plain ?? "";
    const field = name && FIELDS[name.toLowerCase()];
    if (field) parameters[field] = value;
    else {
      // An address with colons, or a Community ID, begins as a word with a field does.
      const whole = name ? `${name}:${value}` : value;
      const kind = kindOf(whole);
      if (kind) parameters[kind] = whole;
      else problem = T.home.noField(name ?? "", Object.keys(FIELDS).join(", "));
    }
  }
  return { parameters, problem };
}

function kindOf(word: string): string | undefined {
  if (COMMUNITY.test(word)) return "communityId";
  if (JA4.test(word)) return "ja4";
  if (ADDRESS.test(word)) return "client";
  return word.includes(":") ? undefined : "host";
}
