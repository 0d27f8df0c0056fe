/** A request that must not be carried out: the HTTP status to answer, and why. */
export interface RefusedRequest {
  readonly kind: "bad";
  readonly status: 400 | 414 | 431 | 505;
  readonly message: string;
}

export function refuse(status: RefusedRequest["status"], message: string): RefusedRequest {
  return { kind: "bad", status, message };
}
