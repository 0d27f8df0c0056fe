import { hostname, networkInterfaces } from "node:os";
import type { Certificate } from "../control/http-server.ts";
import { readConsoleKey } from "../pki/check.ts";
import { makeSelfSigned } from "../pki/keys/key-request.ts";
import { fromPem } from "../pki/x509/pem.ts";
import type { NodeState } from "./state.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Longer ones are refused by some clients. */
const LONGEST = 397 * DAY;

/** A certificate of the API, and until when it can be shown, in ms since the epoch. */
export interface ApiCertificate extends Certificate {
  readonly notAfter: number;
}

/** What the API shows: the user's own certificate, or one that the primary CA signs. Undefined: it speaks plain HTTP. */
export async function apiCertificate({ active, mint }: NodeState, now: number): Promise<ApiCertificate | undefined> {
  const { config, consoleTls } = active.loaded;
  const { tls, address } = config.console;
  if (!tls) return undefined;
  if (consoleTls) return readConsoleKey(consoleTls);
  // The mint writes certificates after a model: this one says the names.
  const names = tls.names ?? ownNames(address.host);
  const model = await makeSelfSigned(names, "ecdsa", now - HOUR, now + LONGEST);
  const certificate = fromPem(model.certificatePem, "CERTIFICATE");
  return mint.issue({ certificate, authority: "primary", keyType: "ecdsa" }, now);
}

/** The names and addresses by which this machine is reached. */
function ownNames(host: string): readonly string[] {
  const addresses = ["0.0.0.0", "::"].includes(host)
    ? Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address))
    : [host];
  const machine = hostname().toLowerCase();
  const named = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(machine) ? [machine] : [];
  const usable = addresses.filter((address) => !address.includes("%"));
  return [...new Set([...named, ...usable, "localhost", "127.0.0.1", "::1"])];
}
