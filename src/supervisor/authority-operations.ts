import type { AuthorityInfo } from "../control/api.ts";
import type { Operations } from "../control/operations.ts";
import { log } from "../log.ts";
import type { Authority } from "../pki/issue/authority-reading.ts";
import { recordCertificate } from "../pki/x509/certificate-record.ts";
import { serialNumberOf } from "../pki/x509/fingerprint.ts";
import { forgetIssued, noteAuthorities, offer, offeredCertificates } from "./authority-news.ts";
import type { NodeState } from "./state.ts";
import { shareSuccession } from "./succession.ts";

/** The CAs' life, as the API asks for it: shown, renewed, followed by others, destroyed. */
export function createAuthorityOperations(
  state: NodeState,
): Pick<
  Operations,
  | "offeredCertificates"
  | "authorities"
  | "authorityPem"
  | "renewAuthority"
  | "makeNextAuthority"
  | "activateAuthority"
  | "destroyAuthority"
> {
  const { authorities } = state;
  return {
    authorities: () => authorityInfos(state),
    authorityPem(role, keyType, stage) {
      const listed = stage === "next" ? authorities.next() : authorities.list();
      return listed.find((one) => one.role === role && one.keyType === keyType)?.certificatePem;
    },
    offeredCertificates: () => offeredCertificates(authorities),
    async renewAuthority(role) {
      const before = signing(state, role);
      await authorities.renew(role, Date.now());
      forgetIssued(state);
      offer(state);
      shareSuccession(state, role, before);
      noteAuthorities(state, authorities.list(), role, `Made a new ${role} CA, which replaces the one before`);
      await state.renewed();
      return authorityInfos(state);
    },
    async makeNextAuthority(role) {
      await authorities.makeNext(role, Date.now());
      offer(state);
      shareSuccession(state, role, []);
      noteAuthorities(
        state,
        authorities.next(),
        role,
        `Made the ${role} CA that is to follow; the present one signs until it is activated`,
      );
      return authorityInfos(state);
    },
    async activateAuthority(role) {
      const before = signing(state, role);
      await authorities.activate(role, Date.now());
      forgetIssued(state);
      offer(state);
      shareSuccession(state, role, before);
      noteAuthorities(state, authorities.list(), role, `The next ${role} CA signs now`);
      await state.renewed();
      return authorityInfos(state);
    },
    async destroyAuthority(role, which) {
      const keys = await authorities.destroy(role, which).finally(() => offer(state));
      log.info({ keys }, `Destroyed the private keys of the ${which} ${role} CAs`);
      return keys;
    },
  };
}

function authorityInfos({ authorities }: NodeState): AuthorityInfo[] {
  return [
    ...authorities.list().map((one) => infoOf(one, "present")),
    ...authorities.next().map((one) => infoOf(one, "next")),
  ];
}

function infoOf(
  { role, keyType, certificate, sha256, notBefore, notAfter, given }: Authority,
  stage: AuthorityInfo["stage"],
): AuthorityInfo {
  const { subject } = recordCertificate(certificate);
  const serial = serialNumberOf(certificate);
  return { role, keyType, subject, serial, sha256, notBefore, notAfter, origin: given ? "given" : "made", stage };
}

/** SHA-256 of the certificates of the CAs that sign. */
function signing({ authorities }: NodeState, role: Authority["role"]): string[] {
  return authorities.list().flatMap((one) => (one.role === role ? [one.sha256] : []));
}
