import { InvariantError } from "../errors.ts";
import { crypto, memory } from "./native.ts";

/** Has OpenSSL read a PEM text, whose bytes are wiped afterwards: they may be a key's. Answers 0 for an empty text. */
export function withPem(pem: string, read: (bio: number) => number): number {
  if (pem === "") return 0;
  const bytes = memory(Buffer.byteLength(pem));
  bytes.write(pem);
  const bio = crypto.BIO_new_mem_buf(bytes, bytes.length);
  if (bio === 0) throw new InvariantError("BIO_new_mem_buf failed");
  try {
    return read(bio);
  } finally {
    crypto.BIO_free(bio);
    bytes.fill(0);
  }
}
