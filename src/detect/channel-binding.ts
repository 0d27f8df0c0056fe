/**
 * Log-ins that are bound to the TLS channel: SASL's mechanisms with "-PLUS" (RFC 5801, RFC 5802), as the client's message names the one
 * that it has chosen. Some libraries leave the suffix out: then the type of binding behind the name tells. The binding is to the certificate (RFC 5929) or to the TLS session (RFC 5929, RFC 9266) as the client sees it.
 */
export interface BoundLogin {
  /** "SCRAM-SHA-256-PLUS". */
  readonly mechanism: string;
  /** To the server's certificate, and not to the session; undefined: the client has not said yet. */
  readonly toCertificate: boolean | undefined;
}

/** Bytes of the client's that are looked at: a log-in comes first. */
const LOOKED_AT = 16 * 1024;
/** The longest message, up to the mechanism's name, and what stands for the binding behind it. */
const WINDOW = 512;
const SUFFIX = "-PLUS";
const NAME = "([A-Z0-9_-]{3,40})";
/** What is in every message that is looked for: the suffix, or the type as it is or in base64. */
const SIGNS = [SUFFIX, "p=tls-", "cD10bHMt"];
/** Bytes between a mechanism without suffix and its type, at most. */
const NEAR = 16;

/** How messages name it; each character is a byte. */
const MESSAGES: readonly RegExp[] = [
  // PostgreSQL: SASLInitialResponse.
  new RegExp(`p[^]{4}${NAME}\\0`),
  // IMAP and ManageSieve (AUTHENTICATE), SMTP and POP3 (AUTH), with a tag before it or none.
  new RegExp(
    `(?:^|\\n)(?:[!-~]{1,64} )?(?:AUTH|auth)(?:ENTICATE|enticate)? "?${NAME}(?="?(?: [A-Za-z0-9+/="]+)?\\r?\\n)`,
  ),
  // XMPP: RFC 6120, section 6.4.2, and XEP-0388.
  new RegExp(`<auth(?:enticate)?\\s[^<>]*\\bmechanism=['"]${NAME}['"]`),
  // LDAP's SaslCredentials (RFC 4511, section 4.2), and AMQP's sasl-init.
  new RegExp(`\\xa3[^]{1,7}?${NAME}`),
];

/** HTTP, whose contents may be anybody's text, also about log-ins: RFC 9112, section 3, and the preface of RFC 9113, section 3.4. */
const HTTP = /^[A-Z]{3,20} [^ ]+ HTTP\/\d/;

/** "p=tls-server-end-point", also in base64, and any other type. */
const TO_CERTIFICATE = /p=tls-server-end-point|cD10bHMtc2VydmVyLWVuZC1wb2lu/;
const TO_OTHER = /p=tls-|cD10bHMt/;

/** Looks at the first bytes that a client sends inside of TLS. */
export class BindingSearch {
  #left = LOOKED_AT;
  /** The end of what came before: a message may come in pieces. */
  #before: Buffer = Buffer.alloc(0);
  #isBeginning = true;

  /** "no": all was looked at, or it is HTTP. */
  push(bytes: Buffer): BoundLogin | "more" | "no" {
    const fresh = bytes.subarray(0, this.#left);
    this.#left -= fresh.length;
    const seen = this.#before.length > 0 ? Buffer.concat([this.#before, fresh]) : fresh;
    if (this.#isBeginning && HTTP.test(seen.toString("latin1"))) return "no";
    this.#isBeginning &&= seen.length < WINDOW;
    const found = SIGNS.some((sign) => seen.includes(sign)) ? readBinding(seen.toString("latin1")) : undefined;
    if (found) return found;
    if (this.#left === 0) return "no";
    this.#before = Buffer.from(seen.subarray(-WINDOW));
    return "more";
  }
}

function readBinding(text: string): BoundLogin | undefined {
  for (const message of MESSAGES) {
    const match = message.exec(text);
    const mechanism = match?.[1];
    if (!match || mechanism === undefined) continue;
    const behind = text.slice(text.indexOf(mechanism, match.index) + mechanism.length);
    const toCertificate = TO_CERTIFICATE.test(behind) ? true : TO_OTHER.test(behind) ? false : undefined;
    const typeAt = behind.search(TO_OTHER);
    if (mechanism.endsWith(SUFFIX) || (typeAt >= 0 && typeAt <= NEAR)) return { mechanism, toCertificate };
  }
  return undefined;
}
