import { FAULTS, type Phase } from "../vocabulary.ts";
import { type Address, createAddressSet, isAddressEntry } from "./address-set.ts";
import { REVOCATION_FAULTS } from "./facts.ts";
import { type HostPurpose, matchHosts } from "./host-match.ts";
import { createHostSet, readHostEntry } from "./host-set.ts";
import type { Truth } from "./truth.ts";
import type { View } from "./view.ts";

/** A value in a rule's `match`, as the file has it. */
export type ConditionValue = string | number;

export type Judge = (view: View) => Truth;

/** One kind of condition. A new kind is one more row in the table below. */
interface Condition {
  /** One sentence for the configuration reference. */
  readonly description: string;
  /** The earliest phase in which it can be judged. */
  readonly phase: Phase;
  /** The fault of a value, to follow its path in a sentence: "is 70000, above 65535". Undefined: the value is good. */
  problem(value: ConditionValue): string | undefined;
  /** Makes the judge, which is true when any of the values matches. The values have no problem. */
  compile(values: readonly ConditionValue[], purpose: HostPurpose): Judge;
}

export const CONDITIONS = {
  client: {
    description: "The client's address: addresses, subnets, ranges.",
    phase: "network",
    problem: addressProblem,
    compile: (values) => matchAddress(values, (view) => view.clientAddress),
  },
  server: {
    description: "The server's address: addresses, subnets, ranges.",
    phase: "network",
    problem: addressProblem,
    compile: (values) => matchAddress(values, (view) => view.serverAddress),
  },
  port: {
    description: "The server's port: numbers and ranges such as 8000-9000.",
    phase: "network",
    problem: portProblem,
    compile: (values) => matchPort(values, ({ server }) => (server === null ? null : server?.port)),
  },
  sourcePort: {
    description: "The client's port: numbers and ranges such as 8000-9000.",
    phase: "network",
    problem: portProblem,
    compile: (values) => matchPort(values, ({ client }) => client?.port),
  },
  listener: {
    description: "The name of the listener that accepted the flow.",
    phase: "network",
    problem: textProblem,
    compile(values) {
      const names = new Set(values.map(String));
      return ({ listener }) => (listener === undefined ? "unknown" : names.has(listener));
    },
  },
  vlan: {
    description:
      "The VLAN of a bridge that the flow came by: 10, or 100/10 for VLAN 10 in the outer tag 100; untagged: none.",
    phase: "network",
    problem: (value) =>
      isVlan(String(value))
        ? undefined
        : `is ${JSON.stringify(value)}, neither untagged, a VLAN's id (1 to 4094) nor two such as 100/10`,
    compile(values) {
      const names = new Set(values.map(String));
      return ({ vlan }) => (vlan === undefined ? "unknown" : names.has(vlan ?? UNTAGGED));
    },
  },
  host: {
    description:
      "The host: example.com is itself only, *.example.com every subdomain. Compared with the SNI, the CONNECT host and the host of plain HTTP; without any, with the certificate's names.",
    phase: "sni",
    problem: (value) =>
      readHostEntry(String(value))
        ? undefined
        : `is ${JSON.stringify(value)}, neither a host name nor "*." and a host name`,
    compile(values, purpose) {
      const set = createHostSet(values.map((value) => [String(value), true]));
      return (view) => matchHosts(set, purpose, view);
    },
  },
  alpn: {
    description:
      "A protocol that the client offers by ALPN: h2, http/1.1, acme-tls/1. A bypass rule matches if the client offers nothing else.",
    phase: "sni",
    problem: textProblem,
    compile(values, { action }) {
      const names = new Set(values.map(String));
      return ({ alpn }) => {
        if (alpn === undefined) return "unknown";
        const offered = alpn.filter((name) => !isGrease(name));
        // A client must not get past the node by one more protocol in its list.
        return action === "bypass"
          ? offered.length > 0 && offered.every((name) => names.has(name))
          : offered.some((name) => names.has(name));
      };
    },
  },
  issuer: {
    description:
      "The issuer of the server's certificate, on one line (CN=R3, O=Let's Encrypt, C=US); * stands for any characters.",
    phase: "certificate",
    problem: textProblem,
    compile(values) {
      const patterns = values.map((value) => String(value).toLowerCase().split("*"));
      return ({ certificate }) => {
        if (certificate === undefined) return "unknown";
        const issuer = certificate.issuer.toLowerCase();
        return patterns.some((pattern) => matchesWildcard(pattern, issuer));
      };
    },
  },
  fault: {
    description:
      "A fault of the server's certificate. A decrypt rule that names a fault overrides that fault's action.",
    phase: "certificate",
    problem: (value) =>
      FAULTS.some((fault) => fault === value)
        ? undefined
        : `is ${JSON.stringify(value)}, not one of ${FAULTS.join(", ")}`,
    compile(values) {
      const later = REVOCATION_FAULTS.some((fault) => values.includes(fault));
      return ({ certificate }) => {
        if (certificate === undefined) return "unknown";
        const { faults, revocationOpen = false } = certificate;
        return faults.some((fault) => values.includes(fault)) || (later && revocationOpen ? "unknown" : false);
      };
    },
  },
} as const satisfies Record<string, Condition>;

export type ConditionName = keyof typeof CONDITIONS;

/** The table's keys, in its order. */
export const CONDITION_NAMES = Object.keys(CONDITIONS) as readonly ConditionName[];

function matchAddress(values: readonly ConditionValue[], read: (view: View) => Address | null | undefined): Judge {
  const set = createAddressSet(values.map((value) => [String(value), true]));
  return (view) => {
    const address = read(view);
    return address === undefined ? "unknown" : address !== null && set.find(address).length > 0;
  };
}

function addressProblem(value: ConditionValue): string | undefined {
  return isAddressEntry(String(value))
    ? undefined
    : `is ${JSON.stringify(value)}, neither an address, a subnet nor a range of addresses`;
}

function matchPort(values: readonly ConditionValue[], read: (view: View) => number | null | undefined): Judge {
  const ranges = values.flatMap((value) => readPorts(value) ?? []);
  return (view) => {
    const port = read(view);
    if (port === undefined) return "unknown";
    return port !== null && ranges.some(({ first, last }) => first <= port && port <= last);
  };
}

function portProblem(value: ConditionValue): string | undefined {
  const range = readPorts(value);
  if (range === undefined) return `is ${JSON.stringify(value)}, neither a port nor a range such as 8000-9000`;
  if (range.last > 65535) return `is ${value}, above 65535`;
  if (range.first < 1) return `is ${value}, below 1`;
  return range.first > range.last ? `is ${value}, which ends before it begins` : undefined;
}

/** Reads a port or a range; undefined: the value is neither. */
export function readPorts(value: ConditionValue): { readonly first: number; readonly last: number } | undefined {
  const parts = /^(-?\d{1,9})(?:\s*-\s*(\d{1,9}))?$/.exec(String(value));
  if (parts === null) return undefined;
  return { first: Number(parts[1]), last: Number(parts[2] ?? parts[1]) };
}

/** The VLAN of a flow whose frames have no tag. */
export const UNTAGGED = "untagged";

function isVlan(text: string): boolean {
  return (
    text === UNTAGGED || (/^[1-9]\d{0,3}(\/[1-9]\d{0,3})?$/.test(text) && text.split("/").every((id) => +id < 4095))
  );
}

/** RFC 8701, section 2: protocols that mean nothing, so that servers learn to ignore what they do not know. */
function isGrease(protocol: string): boolean {
  return protocol.length === 2 && protocol[0] === protocol[1] && (protocol.charCodeAt(0) & 0x0f) === 0x0a;
}

function textProblem(value: ConditionValue): string | undefined {
  return String(value).trim() === "" ? "is empty" : undefined;
}

/** `parts` is the pattern, split at its wildcards. Each part is searched for once, after the last one: no pattern is slow. */
function matchesWildcard(parts: readonly string[], text: string): boolean {
  const [head = "", ...rest] = parts;
  const tail = rest.pop();
  if (tail === undefined) return text === head;
  if (!text.startsWith(head)) return false;
  let at = head.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - tail.length >= at && text.endsWith(tail);
}
