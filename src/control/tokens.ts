import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { ConfigError } from "../errors.ts";
import { readSecret, writeSecret } from "../pki/keys/secret-file.ts";
import { CALLER_ROLES, type CallerRole } from "../vocabulary.ts";
import type { NewToken, TokenInfo } from "./api.ts";
import { ANYONE, type Caller, OWNER, SIGNAL } from "./caller.ts";

/** The tokens that an administrator made, beside the one of the data folder's owner. */
export interface Tokens {
  /** Who has this token. "expired": it was somebody's. Undefined: it is nobody's. */
  find(token: string): Caller | "expired" | undefined;
  /** Whether a caller of this name still has a token. */
  isGood(name: string): boolean;
  list(): readonly TokenInfo[];
  /** Makes a token, which is on disk when this resolves. The answer is the only place that ever shows it. */
  add(wanted: NewToken, by: Caller): Promise<{ readonly token: string; readonly info: TokenInfo }>;
  /** false: no token has this name. */
  remove(name: string): Promise<boolean>;
}

/** A token as the file has it. A hash without salt is enough: nobody can guess 32 random bytes. */
interface Kept extends Omit<TokenInfo, "lastUsed"> {
  readonly sha256: string;
}

/** Each request is compared with all of them. */
const TOKENS_MAX = 500;

/** Names that the audit log has for others. */
const RESERVED: readonly string[] = [OWNER, ANYONE, SIGNAL].map(({ name }) => name.toLowerCase());

/** Throws ConfigError when the file cannot be read, or holds something else. `notice`: other users could read it. */
export async function openTokens(
  file: string,
  owner: string,
  notice: (text: string) => void,
  now = Date.now,
): Promise<Tokens> {
  const ownerHash = digest(owner);
  let kept = parse(file, await readSecret(file, notice));
  const used = new Map<string, number>();
  let turn: Promise<unknown> = Promise.resolve();

  /** One change after the other. What is in use changes once the file has. */
  function change<T>(edit: () => readonly [tokens: readonly Kept[], answer: T]): Promise<T> {
    const changed = turn.then(async () => {
      const [tokens, answer] = edit();
      if (tokens !== kept) await writeSecret(file, `${JSON.stringify({ tokens }, null, 2)}\n`, false);
      kept = tokens;
      return answer;
    });
    turn = changed.catch(() => {});
    return changed;
  }

  const infoOf = ({ sha256: _, ...shown }: Kept): TokenInfo => ({ ...shown, lastUsed: used.get(shown.name) ?? null });

  return {
    find(token) {
      const given = digest(token);
      // Every comparison is made, whichever is the right one.
      const isOwner = timingSafeEqual(given, ownerHash);
      const [found] = kept.filter(({ sha256 }) => timingSafeEqual(given, Buffer.from(sha256, "hex")));
      if (isOwner) return OWNER;
      if (!found) return undefined;
      if (found.until !== null && found.until <= now()) return "expired";
      used.set(found.name, now());
      return { name: found.name, role: found.role };
    },
    isGood: (name) =>
      name === OWNER.name || kept.some((one) => one.name === name && (one.until === null || one.until > now())),
    list: () => kept.map(infoOf),
    add: ({ name, role, validSeconds }, by) =>
      change(() => {
        refuse(name, kept);
        const token = `clearline_${randomBytes(32).toString("base64url")}`;
        const made = now();
        const until = validSeconds === undefined ? null : made + validSeconds * 1000;
        const one = { name, role, made, until, by: by.name, sha256: digest(token).toString("hex") };
        return [[...kept, one], { token, info: infoOf(one) }];
      }),
    remove: (name) =>
      change(() => {
        const left = kept.filter((one) => one.name !== name);
        used.delete(name);
        return left.length < kept.length ? [left, true] : [kept, false];
      }),
  };
}

function refuse(name: string, kept: readonly Kept[]): void {
  const why = RESERVED.includes(name.toLowerCase())
    ? "the audit log has this name for another caller"
    : kept.some((one) => one.name.toLowerCase() === name.toLowerCase())
      ? "a token has this name already. Remove it first, or give another name"
      : kept.length >= TOKENS_MAX
        ? `there are ${TOKENS_MAX} tokens already. Remove some first`
        : undefined;
  if (why !== undefined) throw new ConfigError("name", `Cannot add the token ${name}: ${why}`);
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function parse(file: string, text: string | undefined): readonly Kept[] {
  if (text === undefined) return [];
  try {
    const { tokens } = JSON.parse(text);
    if (Array.isArray(tokens) && tokens.every(isKept)) return tokens;
  } catch {
    // Said below.
  }
  throw new ConfigError(
    file,
    `Cannot use the tokens in ${file}: the file is not one that the node wrote. Restore it, or remove it and make new tokens`,
  );
}

function isKept(value: unknown): value is Kept {
  if (typeof value !== "object" || value === null) return false;
  const { name, role, made, until, by, sha256 } = value as Partial<Record<keyof Kept, unknown>>;
  return (
    typeof name === "string" &&
    CALLER_ROLES.includes(role as CallerRole) &&
    Number.isInteger(made) &&
    (until === null || Number.isInteger(until)) &&
    typeof by === "string" &&
    /^[0-9a-f]{64}$/.test(String(sha256))
  );
}
