import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { z } from "zod";

/**
 * Values that are written as text and used as something else. Their messages complete a sentence that begins with the path:
 * `timeouts.hello is "5 parsecs", not a duration such as 250ms, 5s, 10m, 1h or 30d`.
 */

const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const BYTES = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
} as const;

interface Range {
  readonly min: string;
  readonly max: string;
}

/** "250ms", "5s", "10m", "1h", "30d" to ms. */
export function duration({ min, max }: Range) {
  return amount(MILLISECONDS, { min, max }, "a duration such as 250ms, 5s, 10m, 1h or 30d");
}

/** "100MB", "1GiB" to bytes. */
export function size({ min, max }: Range) {
  return amount(BYTES, { min, max }, "a size such as 500kB, 100MB or 1GiB");
}

function amount(units: Readonly<Record<string, number>>, { min, max }: Range, what: string) {
  const [least = 0, most = Infinity] = [min, max].map((bound) => readAmount(bound, units));
  return parsed(what, (text) => {
    const value = readAmount(text, units);
    if (value === undefined) return undefined;
    if (value < least) return { problem: `is ${text}, below ${min}` };
    return value > most ? { problem: `is ${text}, above ${max}` } : { value };
  });
}

function readAmount(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const [, digits, unit] = /^(\d{1,12}(?:\.\d{1,3})?) ?([A-Za-z]{1,3})$/.exec(text) ?? [];
  if (unit === undefined || !Object.hasOwn(units, unit)) return undefined;
  return Math.round(Number(digits) * (units[unit] ?? 0));
}

/** "90%" to 0.9. */
export function percentage() {
  const what = "a percentage from 1% to 100%, such as 90%";
  return parsed(what, (text) => {
    const [, digits] = /^(\d{1,3}(?:\.\d{1,3})?) ?%$/.exec(text) ?? [];
    const value = Number(digits);
    return value >= 1 && value <= 100 ? { value: value / 100 } : undefined;
  });
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** "10.0.0.5:443", "[::1]:443", "www.example.com:443". */
export function hostPort() {
  return parsed("a host and a port such as 127.0.0.1:8080 or [::1]:8080", (text) => {
    const endpoint = readHostPort(text);
    if (endpoint === undefined) return undefined;
    return endpoint.port < 1 || endpoint.port > 65535
      ? { problem: `is ${JSON.stringify(text)}: the port ${endpoint.port} is not between 1 and 65535` }
      : { value: endpoint };
  });
}

/** Undefined: the text is not of this form. The range of the port is not checked. */
export function readHostPort(text: string): HostPort | undefined {
  const [, bracketed, plain, port] =
    /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})?)):(\d{1,9})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || (bracketed !== undefined && !URL.canParse(`http://[${bracketed}]/`))) return undefined;
  // Digits and dots that are not an address would be resolved as a name; some resolvers read 10.5 as 10.0.0.5.
  if (/^[\d.]+$/.test(host) && !/^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/.test(host)) return undefined;
  return { host: host.toLowerCase(), port: Number(port) };
}

/** "127.0.0.1:8080", "[::1]:8080". */
export function textOf({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether a connection to `target` arrives at a socket that listens on `listening`, as far as the two texts tell. */
export function reaches(target: string, listening: string): boolean {
  const loopback = /^(?:localhost|127\..*|::1|0\.0\.0\.0|::)$/;
  if (listening === "0.0.0.0" || listening === "::") return loopback.test(target);
  const names = (host: string) => (host === "localhost" ? ["127.0.0.1", "::1"] : [host]);
  return names(target).some((host) => names(listening).includes(host));
}

/** Whether only this machine reaches this listening address. */
export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** The name of a listener, tool or feed. Files, metrics and lines of output are named after it. */
export function label() {
  return z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, {
    error: "not a name of up to 64 letters, digits, dots, dashes and underscores",
  });
}

/** A network interface's name, as the kernel allows it. */
export function interfaceName() {
  return z.string().regex(/^[A-Za-z0-9_.-]{1,15}$/, {
    error: "not the name of a network interface: up to 15 letters, digits, dots, dashes and underscores",
  });
}

/** "10.3.0.254/24" or "fd00::fe/64": an address with the length of its subnet. */
export function subnetAddress() {
  return z.string().refine((text) => ipaddr.IPv4.isValidCIDRFourPartDecimal(text) || ipaddr.IPv6.isValidCIDR(text), {
    error: "not an address with the length of its subnet, such as 10.3.0.254/24",
  });
}

/** "redis://user:password@host:port/database", "rediss://…" with TLS. Error messages do not repeat it, since it may contain a password. */
export function storeUrl() {
  const what = "the address of a store such as redis://10.0.0.7:6379";
  return parsed(what, (text) => {
    const url = URL.parse(text);
    const known = url !== null && /^rediss?:$/.test(url.protocol) && url.hostname !== "";
    return known && /^\/?\d{0,3}$/.test(url.pathname) ? { value: text } : { problem: `is not ${what}` };
  });
}

/** "10.3.0.1" or "fd00::1". */
export function address() {
  return z
    .string()
    .refine((text) => isIP(text) !== 0 && !text.includes("%"), { error: "not an address such as 10.3.0.1 or fd00::1" });
}

/** { 443: 80, default: 8080 }: ports, and "default" for all others. */
export function portMap() {
  const port = z.int().min(1).max(65535);
  const key = z.string().regex(/^(?:default|[1-9]\d{0,4})$/, { error: 'neither a port nor "default"' });
  return z.record(
    key.refine((text) => text === "default" || Number(text) <= 65535, { error: "not a port: the highest is 65535" }),
    port,
  );
}

/** A text that `read` turns into a value. Undefined: the text is not of this form; the error then says that `what` is expected. */
function parsed<Value>(what: string, read: (text: string) => { value: Value } | { problem: string } | undefined) {
  return z.string({ error: `not ${what}` }).transform((text, context): Value => {
    const answer = read(text) ?? { problem: `is ${JSON.stringify(text)}, not ${what}` };
    if ("value" in answer) return answer.value;
    context.issues.push({ code: "custom", message: answer.problem, input: text });
    return z.NEVER;
  });
}
