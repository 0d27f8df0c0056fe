import { join } from "node:path";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { makeSecretFolder } from "../keys/secret-file.ts";
import { PLAIN_VAULT, type Vault } from "../keys/vault.ts";
import {
  type FileContext,
  finishReplacement,
  type OwnAuthority,
  type Role,
  readFiles,
  replaceFiles,
  sealOldFiles,
} from "./authority-files.ts";
import {
  type Authority,
  type GivenAuthorities,
  ROLES,
  readGiven,
  readOwn,
  refuseSharedTrust,
} from "./authority-reading.ts";
import {
  type AuthorityPair,
  destroyKeys,
  finishRemoval,
  formerKeys,
  hasNext,
  install,
  installNext,
  isPair,
  isSame,
  makeNext,
  nextOf,
  removeNext,
  type Succession,
} from "./succession.ts";

export interface Authorities {
  /** The CA that signs for this role and key type. */
  find(role: Role, keyType: KeyType): Authority;
  /** All CAs, primary first. A given CA, which signs for both key types, is there once. */
  list(): readonly Authority[];
  /** Makes new CAs for a role; the old files are kept as `….old-<time>`. Throws ConfigError for a given CA. */
  renew(role: Role, now: number): Promise<void>;
  /** The CAs that are to follow those of `list()`, primary first: clients are to trust them before they sign. */
  next(): readonly Authority[];
  /** Makes the CAs that are to follow those of a role. Throws ConfigError for a given CA, and when they are there already. */
  makeNext(role: Role, now: number): Promise<void>;
  /** From now on the next CAs of a role sign; the old files are kept as `….old-<time>`. Throws ConfigError when there are none. */
  activate(role: Role, now: number): Promise<void>;
  /**
   * Takes over how another node's CA has followed the one that both have. "same": this node is as far; "foreign": it has another CA, or a
   * given one, and nothing has changed. Throws ConfigError.
   */
  follow(succession: Succession, now: number): Promise<"followed" | "same" | "foreign">;
  /** Destroys the private keys of a role's former CAs, or its next CAs. Answers how many keys there were. Throws ConfigError. */
  destroy(role: Role, which: "former" | "next"): Promise<number>;
  /** Messages for the user: permissions that were repaired, CAs that were renewed or expire soon. */
  readonly notices: readonly string[];
  /** One sentence for each CA that was made because there was none. */
  readonly made: readonly string[];
}

const KEY_TYPES = ["ecdsa", "rsa"] as const;
const DAY = 24 * 3600 * 1000;
/** A CA that expires within this time is reported at every start. */
const SOON = 30 * DAY;

/**
 * Opens the signing CAs in `directory` (`<dataDir>/ca`) and makes those that were never there: primary and secondary, each
 * with an ECDSA P-256 and an RSA-2048 key. A given CA replaces both of its role. Only one process may do this at a time.
 * `vault` encrypts the keys. `now` in ms since the epoch. Throws ConfigError with the path of the file or the place in the
 * configuration.
 */
export async function openAuthorities(
  directory: string,
  given: GivenAuthorities,
  now: number,
  vault: Vault = PLAIN_VAULT,
): Promise<Authorities> {
  const notices: string[] = [];
  const files: FileContext = { vault, notice: (text) => notices.push(text) };
  await makeSecretFolder(directory);
  await finishReplacement(directory, files.notice);
  const keeper = new AuthorityKeeper(directory, given, files);
  const made = await makeMissing(
    ROLES.filter((role) => !given[role]).flatMap((role) => keeper.own(role)),
    now,
    files,
  );
  for (const role of ROLES) await keeper.open(role, now);
  await sealOldFiles(directory, files);
  for (const keyType of KEY_TYPES) {
    const [primary, secondary] = ROLES.map((role) => keeper.find(role, keyType));
    const path = (given.secondary ?? given.primary)?.path ?? join(directory, `secondary-${keyType}.pem`);
    refuseSharedTrust(primary!, secondary!, path);
  }
  for (const authority of keeper.list()) noticeExpiry(authority, now, files);
  return {
    notices,
    made,
    find: (role, keyType) => keeper.find(role, keyType),
    list: () => keeper.list(),
    next: () => keeper.next(),
    renew: (role, at) => keeper.inTurn(() => keeper.renew(role, at)),
    makeNext: (role, at) => keeper.inTurn(() => keeper.makeNext(role, at)),
    activate: (role, at) => keeper.inTurn(() => keeper.activate(role, at)),
    follow: (succession, at) => keeper.inTurn(() => keeper.follow(succession, at)),
    destroy: (role, which) => keeper.inTurn(() => keeper.destroy(role, which)),
  };
}

/** The CAs that are open, and those that are to follow them. */
class AuthorityKeeper {
  readonly #directory: string;
  readonly #given: GivenAuthorities;
  readonly #files: FileContext;
  readonly #open = new Map<string, Authority>();
  readonly #next = new Map<Role, readonly Authority[]>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(directory: string, given: GivenAuthorities, files: FileContext) {
    this.#directory = directory;
    this.#given = given;
    this.#files = files;
  }

  find(role: Role, keyType: KeyType): Authority {
    return this.#open.get(`${role} ${keyType}`)!;
  }

  list(): readonly Authority[] {
    return [...new Set(this.#open.values())];
  }

  next(): readonly Authority[] {
    return ROLES.flatMap((role) => this.#next.get(role) ?? []);
  }

  own(role: Role): readonly OwnAuthority[] {
    return KEY_TYPES.map((keyType) => ({ base: join(this.#directory, `${role}-${keyType}`), role, keyType }));
  }

  /** Opens the CAs of a role, and replaces those that have expired. */
  async open(role: Role, now: number): Promise<void> {
    const given = this.#given[role];
    if (given) {
      const authority = readGiven(role, given, now);
      for (const keyType of KEY_TYPES) this.#open.set(`${role} ${keyType}`, authority);
      return;
    }
    await this.#openNext(role);
    await this.#settleNext(role, now);
    // All key types or none, when a file cannot be read.
    const opened = await Array.fromAsync(this.own(role), (one) => openOwn(one, now, this.#files));
    for (const one of opened) this.#open.set(`${role} ${one.keyType}`, one);
  }

  async renew(role: Role, now: number): Promise<void> {
    this.#refuseGiven(role, "renew");
    await replaceFiles(this.own(role), now, this.#files);
    await this.open(role, now);
  }

  async makeNext(role: Role, now: number): Promise<void> {
    this.#refuseGiven(role, "replace");
    await finishRemoval(this.own(role), this.#files);
    await makeNext(this.own(role), now, this.#files);
    await this.#openNext(role);
  }

  async activate(role: Role, now: number): Promise<void> {
    this.#refuseGiven(role, "replace");
    const following = this.#next.get(role) ?? [];
    const why = following.some(({ notAfter }) => notAfter <= now) ? "it has expired" : "there is none";
    if (following.length === 0 || why === "it has expired") {
      const way = "Make one with: clearline ca next";
      throw new ConfigError("role", `Cannot activate the next ${role} CA: ${why}. ${way}`);
    }
    await installNext(this.own(role), now, this.#files);
    await this.open(role, now);
  }

  async follow({ role, before, present, next }: Succession, now: number): Promise<"followed" | "same" | "foreign"> {
    const own = this.own(role);
    const isOwn = (pairs: readonly AuthorityPair[], list: readonly Authority[]) =>
      isSame(
        pairs,
        list.filter((one) => one.role === role),
      );
    if (this.#given[role] || ![...present, ...next].every(isPair)) return "foreign";
    const isPresent = isOwn(present, this.list());
    const follows = this.list().every((one) => one.role !== role || before.includes(one.sha256));
    if (!isPresent && !follows) return "foreign";
    if (isPresent && (next.length === 0 || isOwn(next, this.next()))) return "same";
    if (!isPresent) await install(own, present, now, this.#files);
    if (next.length > 0) await finishRemoval(own, this.#files);
    if (next.length > 0) await install(own.map(nextOf), next, now, this.#files);
    await this.open(role, now);
    return "followed";
  }

  async destroy(role: Role, which: "former" | "next"): Promise<number> {
    if (which === "former") return destroyKeys(await formerKeys(this.#directory, role));
    this.#refuseGiven(role, "destroy");
    try {
      return await removeNext(this.own(role));
    } finally {
      await this.#openNext(role);
    }
  }

  /** Changes run one after the other: two at once would rename each other's new files. */
  inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    const done = this.#last.then(act);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #openNext(role: Role): Promise<void> {
    await finishRemoval(this.own(role), this.#files);
    const isThere = await hasNext(this.own(role), this.#files);
    const following = isThere ? this.own(role).map(nextOf) : [];
    this.#next.set(role, await Array.fromAsync(following, (one) => readOwn(one, this.#files)));
  }

  /** After a crash the next CA may be the present one already. One that is to follow an expired CA does so at once. */
  async #settleNext(role: Role, now: number): Promise<void> {
    const following = this.#next.get(role) ?? [];
    if (following.length === 0) return;
    const present = await Array.fromAsync(this.own(role), (one) => readOwn(one, this.#files));
    if (present.every(({ sha256 }, index) => sha256 === following[index]?.sha256)) {
      await removeNext(this.own(role));
    } else if (present.some(({ notAfter }) => notAfter <= now)) {
      await installNext(this.own(role), now, this.#files);
      this.#files.notice(`The ${role} CA had expired: the next one, which was made to follow it, signs now`);
    } else return;
    this.#next.set(role, []);
  }

  #refuseGiven(role: Role, action: string): void {
    const given = this.#given[role];
    if (!given) return;
    const way = `it is given in ${given.path}; replace the files there`;
    throw new ConfigError(given.path, `Cannot ${action} the ${role} CA: ${way}`);
  }
}

/** Opens a CA of the node's own. Replaces an expired one. */
async function openOwn(own: OwnAuthority, now: number, files: FileContext): Promise<Authority> {
  const authority = await readOwn(own, files);
  if (authority.notAfter > now) return authority;
  await replaceFiles([own], now, files);
  files.notice(`The ${own.role} CA in ${own.base}.pem had expired and was renewed: give clients the new certificate`);
  return await readOwn(own, files);
}

/** Makes the CAs that were never there, all or none. */
async function makeMissing(all: readonly OwnAuthority[], now: number, files: FileContext): Promise<string[]> {
  const missing: OwnAuthority[] = [];
  for (const own of all) if ((await readFiles(own, files)) === undefined) missing.push(own);
  if (missing.length === 0) return [];
  await replaceFiles(missing, now, files);
  return missing.map(
    ({ base, role, keyType }) => `Made a ${role} CA with an ${keyType.toUpperCase()} key: ${base}.pem`,
  );
}

function noticeExpiry({ role, notAfter, sha256 }: Authority, now: number, { notice }: FileContext): void {
  if (notAfter - now >= SOON) return;
  notice(`The ${role} CA ${sha256.slice(0, 16)} expires on ${new Date(notAfter).toISOString().slice(0, 10)}`);
}
