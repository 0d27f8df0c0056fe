import { generateKeyPair } from "node:crypto";
import { promisify } from "node:util";

/** A key pair as issuing needs it. */
export interface IssuedKey {
  readonly keyPem: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
}

export interface RsaPoolLimits {
  readonly size: number;
  /** Certificates that may share one key. */
  readonly uses: number;
  /** ms that a key may serve. */
  readonly time: number;
}

interface Pooled extends IssuedKey {
  readonly made: number;
  uses: number;
}

/**
 * RSA-2048 keys made ahead in the background, for making one takes longer than a client likes to wait. Each serves
 * for a number of certificates and for a time, and is then replaced. Nothing is made while nothing is taken.
 */
export function createRsaPool({ size, uses, time }: RsaPoolLimits, now: number) {
  const keys: Pooled[] = [];
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
  // Whoever needs the key sees the failure; ahead of need there is nobody to tell.
  const fillAhead = (at: number): void => {
    if (keys.length < size)
      fill(at).then(
        () => fillAhead(at),
        () => undefined,
      );
  };
  fillAhead(now);

  return {
    /** The next key; waits only when there is none fresh enough. `now` in ms since the epoch. */
    async take(at: number): Promise<IssuedKey> {
      for (;;) {
        const key = keys.shift();
        if (!key) {
          await fill(at);
          continue;
        }
        if (at - key.made >= time) continue;
        key.uses += 1;
        // In turn, so that one key is not used up while the others grow old.
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
