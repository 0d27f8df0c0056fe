import type { Parser } from "./parser.ts";
import { NODE_PARSERS } from "./parsers/node.ts";
import { PKI_PARSERS } from "./parsers/pki.ts";
import { PLAINTEXT_PARSERS } from "./parsers/plaintext.ts";
import { SSL3_PARSERS } from "./parsers/ssl3.ts";
import { TLS_PARSERS } from "./parsers/tls.ts";
import { VIEW_PARSERS } from "./parsers/view.ts";

/** Everything of the node that reads bytes of strangers, one row each. OpenSSL's own reading has `src/engine/fuzz.test.ts`. */
export const PARSERS: readonly Parser[] = [
  ...TLS_PARSERS,
  ...SSL3_PARSERS,
  ...PLAINTEXT_PARSERS,
  ...PKI_PARSERS,
  ...NODE_PARSERS,
  ...VIEW_PARSERS,
];
