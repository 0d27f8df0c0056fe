/** A request that must be refused: the HTTP status for the answer, and the reason. */
export interface RefusedRequest {
  readonly kind: "bad";
  readonly status: 400 | 414 | 431 | 505;
  readonly message: string;
}

export function refuse(status: RefusedRequest["status"], message: string): RefusedRequest {
  return { kind: "bad", status, message };
}
