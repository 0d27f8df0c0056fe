import { VERSIONS, type Version } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import type { IssuedCache } from "./issue/issued.ts";
import { chooseLeaf } from "./issue/key-type.ts";
import type { LeafKeyType } from "./issue/leaf-kind.ts";
import type { MintRequest } from "./issue/mint.ts";
import type { InboundKey } from "./keys/inbound-key.ts";
import type { Keystore } from "./keys/keystore.ts";
import type { HeldKeyType } from "./keys/private-key.ts";
import type { Stapler } from "./revocation/stapler.ts";
import type { Judge, JudgedServer, ShownCertificate } from "./verify/judge.ts";
import { splitPem, toPem } from "./x509/pem.ts";

/** The certificates of a session: the server's, and those that the client is shown. */
export interface PkiStage {
  /** Whether the node holds a key for this server: inbound. */
  holdsKey(host: string | undefined, address: string): boolean;
  /** Everything wrong with the server's certificate, and the node's own keys for the server. `host` is whom the client means. */
  judge(shown: ShownCertificate, host: string | undefined, address: string): JudgedServer | Promise<JudgedServer>;
  /**
   * The certificates for the client: the node's own for the server, else one that is issued in place of the server's. `names`: those
   * that it is issued for; undefined: all of the server's.
   */
  present(
    shown: ShownCertificate,
    hello: ClientHello,
    judged: JudgedServer,
    names: readonly string[] | undefined,
  ): Promise<Presentation>;
  /** A certificate for an answer of the node's own in this host's name. Throws PeerError when there is none. */
  presentOwn(host: string, hello: ClientHello, authority: "primary" | "secondary"): Promise<Presentation>;
}

/** Certificates for the client. There are several if the node holds keys of several types; one of them is shown. */
export interface Presentation {
  readonly certificates: readonly {
    readonly certificatePem: string;
    readonly keyPem: string;
    /** The OCSP response for a client that asks for one. */
    readonly staple?: Buffer | undefined;
  }[];
  /** What the session's record says about each, in the same order. */
  readonly records: readonly [PresentedCertificate, ...PresentedCertificate[]];
}

export interface PresentedCertificate {
  readonly authority: "primary" | "secondary" | "inbound";
  readonly serial: string;
  readonly sha256: string;
  readonly keyType: LeafKeyType | HeldKeyType;
}

export interface PkiResources {
  readonly keystore: Keystore;
  readonly judge: Judge;
  readonly issued: IssuedCache;
  /** For the node's own keys. */
  readonly stapler: Stapler;
  /** The versions that the node may agree on with a client. */
  readonly versions: { readonly min: Version; readonly max: Version };
}

export function createPkiStage({ keystore, judge, issued, stapler, versions }: PkiResources): PkiStage {
  const [oldest, newest] = [VERSIONS[versions.min], VERSIONS[versions.max]];
  return {
    holdsKey: (host, address) => keystore.find(host, address).length > 0,
    judge: (shown, host, address) => judge(shown, host, address, Date.now()),
    async present(shown, hello, { held, record, facts }, names) {
      const [own, ...others] = held;
      if (own) {
        const certificates = hello.statusRequest ? await Promise.all(held.map((key) => withStaple(key, shown))) : held;
        return { certificates, records: [recordHeld(own), ...others.map(recordHeld)] };
      }
      // Clients must not trust the secondary CA: a browser warns of what policy decrypts despite the faults.
      const authority = facts.faults.length > 0 ? "secondary" : "primary";
      return issue(record.sha256, hello, { certificate: shown.certificate.raw, authority, names });
    },
    presentOwn: (host, hello, authority) => issue("", hello, { certificate: undefined, authority, names: [host] }),
  };

  async function issue(
    original: string,
    hello: ClientHello,
    wanted: Pick<MintRequest, "certificate" | "authority" | "names">,
  ): Promise<Presentation> {
    const common = hello.versions.filter((version) => version >= oldest && version <= newest);
    const minted = await issued.take(original, { ...wanted, ...chooseLeaf(hello, common) }, Date.now());
    const { authority } = wanted;
    const { serial, sha256, keyType, ocsp } = minted;
    const staple = hello.statusRequest && ocsp !== undefined ? { staple: Buffer.from(ocsp, "base64") } : {};
    return { certificates: [{ ...minted, ...staple }], records: [{ authority, serial, sha256, keyType }] };
  }

  async function withStaple(key: InboundKey, shown: ShownCertificate) {
    const found = await stapler.find(key, shown);
    const hasChain = splitPem(key.certificatePem).length > 1;
    const certificatePem = key.certificatePem + (found && !hasChain ? toPem(found.issuer) : "");
    return { ...key, certificatePem, staple: found?.bytes };
  }
}

function recordHeld({ serial, sha256, keyType }: InboundKey): PresentedCertificate {
  return { authority: "inbound", serial, sha256, keyType };
}
