import { X509Certificate } from "node:crypto";
import { access, constants, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isLoopbackHost } from "../../config/formats.ts";
import type { Loaded } from "../../config/load.ts";
import { readTrust } from "../../pki/verify/trust.ts";
import { folderOf, measureDisk } from "../health.ts";
import { FULL, judgeDates, NEARLY_FULL } from "../health-facts.ts";
import { bad, type Finding, ok, unseen, warning } from "./check.ts";

const MIB = 2 ** 20;

/** The data folder and the feeds' folders: there, writable, and with room. */
export async function checkDataDir(dataDir: string, runs: boolean, loaded: Loaded | undefined): Promise<Finding[]> {
  const folders = [dataDir, ...(loaded?.config.feeds.flatMap(folderOf) ?? [])];
  const found = await Promise.all([...new Set(folders)].map((folder) => checkFolder(folder, runs)));
  return found.flat();
}

/** `known`: a running node has said already whether there is room. */
async function checkFolder(folder: string, known: boolean): Promise<Finding[]> {
  const there = await nearest(folder);
  try {
    await access(there, constants.W_OK | constants.X_OK);
  } catch {
    if (known) return [unseen(folder)];
    return [bad(`This user may not write to ${there}`, `Run this as the node's user, or: chown it to that user`)];
  }
  const disk = await measureDisk(there);
  if (disk === undefined) return [];
  if (disk.hangs) return [bad(`The disk of ${there} does not answer`, "Mend it, or the way to the server that has it")];
  const free = `${Math.floor(disk.free / MIB)} MiB are free for ${folder}`;
  if (disk.free < FULL) return known ? [] : [bad(free, "Make room")];
  if (disk.free < NEARLY_FULL.bytes && disk.free < disk.size * NEARLY_FULL.part)
    return known ? [] : [warning(free, "Make room, or keep less: history.keep, keep and rotate of feeds")];
  return [ok(free)];
}

/** The folder, or the one above it in which the node will make it. */
async function nearest(folder: string): Promise<string> {
  try {
    await stat(folder);
    return folder;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ENOENT" && dirname(folder) !== folder ? nearest(dirname(folder)) : folder;
  }
}

/** The primary CA's certificates: how long they are valid, and whether this machine trusts them. */
export async function checkAuthorities(dataDir: string, loaded: Loaded | undefined): Promise<Finding[]> {
  const given = loaded?.config.signing.primary?.certificate;
  const own = ["ecdsa", "rsa"].map((type) => join(dataDir, "ca", `primary-${type}.pem`));
  const read = await Promise.all((given === undefined ? own : [given]).map(readCertificate));
  const certificates = read.flatMap((one) => ("certificate" in one ? [one] : []));
  return [
    ...read.flatMap((one) => ("status" in one ? [one] : [])),
    ...certificates.map(judgeValidity),
    ...(certificates.length > 0 ? [judgeTrust(certificates, isForHere(loaded))] : []),
  ];
}

interface Read {
  readonly file: string;
  readonly certificate: X509Certificate;
}

async function readCertificate(file: string): Promise<Read | Finding> {
  try {
    return { file, certificate: new X509Certificate(await readFile(file)) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return ok(`${file} is made at the first start`);
    if (code === "EACCES") return unseen(file);
    return bad(`${file} holds no certificate`, "Restore it from a backup: clients would not trust another CA");
  }
}

function judgeValidity({ file, certificate }: Read): Finding {
  const notAfter = Date.parse(certificate.validTo);
  const wrong = judgeDates({ notBefore: Date.parse(certificate.validFrom), notAfter }, Date.now());
  if (!wrong) return ok(`${file} is valid until ${new Date(notAfter).toISOString().slice(0, 10)}`);
  return (wrong.status === "failing" ? bad : warning)(`${file} ${wrong.reason}`, wrong.remedy);
}

/** Clients on this machine use the node, so this machine's own store has to trust the CA. */
function isForHere(loaded: Loaded | undefined): boolean {
  const listeners = loaded?.config.listeners ?? [];
  return listeners.some((one) => one.mode === "explicit" && isLoopbackHost(one.address.host));
}

function judgeTrust(read: readonly Read[], forHere: boolean): Finding {
  const unknown = read.filter(({ certificate }) => !isTrustedHere(certificate));
  if (unknown.length === 0) return ok("This machine trusts it");
  if (!forHere) return ok("Clients must trust it (clearline ca export); this machine does not");
  return warning(
    `This machine's programs do not trust ${unknown.map(({ file }) => basename(file)).join(" and ")}`,
    "Export it (clearline ca export), put each of its certificates into a file of its own in /usr/local/share/ca-certificates, and run update-ca-certificates",
  );
}

/** A given CA may be an intermediate one, whose root is trusted. */
function isTrustedHere(certificate: X509Certificate): boolean {
  const { roots } = readTrust({ system: true, extra: [] });
  return roots.some((pem) => {
    const root = new X509Certificate(pem);
    return root.fingerprint256 === certificate.fingerprint256 || certificate.checkIssued(root);
  });
}
