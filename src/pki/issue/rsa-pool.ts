import { generateKeyPair } from "node:crypto";
import { promisify } from "node:util";

/** The key pair of an issued certificate. */
export interface IssuedKey {
  readonly keyPem: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
}

export interface RsaPoolLimits {
  readonly size: number;
  /** The most certificates that share one key. */
  readonly uses: number;
  /** ms after which a key is not used any more. */
  readonly time: number;
}

interface PooledKey extends IssuedKey {
  /** ms since the epoch. */
  readonly made: number;
  uses: number;
}

/**
 * RSA-2048 keys that are made in advance in the background, because a client should not wait for one: the first at once, the others
 * when it is taken. Each key is used for a number of certificates and for a time, and is then replaced. While no key is taken, none is made.
 */
export function createRsaPool({ size, uses, time }: RsaPoolLimits, now: number) {
  const keys: PooledKey[] = [];
  let made = 0;
  let making: Promise<void> | undefined;

  const fill = (at: number): Promise<void> => {
    making ??= makeKey()
      .then((key) => {
        keys.push({ ...key, made: at, uses: 0 });
        made += 1;
      })
      .finally(() => {
        making = undefined;
      });
    return making;
  };
  // A failure here is not reported: the next take() tries again and rejects.
  const fillAhead = (at: number): void => {
    if (keys.length < size)
      fill(at).then(
        () => fillAhead(at),
        () => undefined,
      );
  };
  // One key is enough for the first clients, and many nodes never need any.
  if (size > 0) fill(now).catch(() => undefined);

  return {
    /** The next key; waits only when the pool has no fresh one. `at` in ms since the epoch. */
    async take(at: number): Promise<IssuedKey> {
      for (;;) {
        const key = keys.shift();
        if (!key) {
          await fill(at);
          continue;
        }
        if (at - key.made >= time) continue;
        key.uses += 1;
        // Keys take turns, so that they are used up and replaced at the same rate.
        if (key.uses < uses) keys.push(key);
        fillAhead(at);
        return key;
      }
    },
    counters: () => ({ ready: keys.length, made }),
  };
}

const generate = promisify(generateKeyPair);

async function makeKey(): Promise<IssuedKey> {
  const { publicKey, privateKey } = await generate("rsa", {
    modulusLength: 2048,
    publicExponent: 65537,
    publicKeyEncoding: { type: "spki", format: "der" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  return { publicKey, keyPem: privateKey };
}
