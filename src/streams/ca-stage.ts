import type { End } from "../engine/end.ts";
import type { OfferedCertificate } from "../page/ca-files.ts";
import { answerCa } from "../page/ca-page.ts";
import { answerRequest, sendAnswer } from "./http-answer.ts";

/** The page from which clients of the explicit proxy get the CA's certificates, at a host name that is the node's own. */
export interface CaStage {
  /** Whether this is that host. */
  isOwn(host: string): boolean;
  /** Answers a request for that host, and ends the client's connection. */
  answer(client: End, request: { readonly method: string; readonly path: string }): void;
  /** What a client is told that asks for a tunnel to that host: it has no TLS, which nobody would trust yet. */
  readonly hint: string;
}

/** `host`: "off": there is none. `certificates`: those of the primary CA, as they are now. */
export function createCaStage(host: string, certificates: () => readonly OfferedCertificate[]): CaStage {
  const address = `http://${host}/`;
  return {
    isOwn: (asked) => host !== "off" && asked === host,
    hint: `The page with the CA's certificates is ${address}, without TLS`,
    answer(client, request) {
      if (request.method !== "GET" && request.method !== "HEAD") {
        answerRequest(client, 405, "This page is only read");
        return;
      }
      sendAnswer(client, answerCa(request.path, { certificates: certificates(), address }), request);
    },
  };
}
