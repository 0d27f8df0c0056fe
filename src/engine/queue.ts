/** First come, first served, in a ring of places: what has left is not held, however long others go on to come. */
export class Queue<Member> {
  #places: (Member | undefined)[] = [undefined, undefined];
  #first = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): Member | undefined {
    return this.#places[this.#first];
  }

  push(member: Member): void {
    if (this.#size === this.#places.length) this.#grow();
    this.#places[(this.#first + this.#size) & (this.#places.length - 1)] = member;
    this.#size += 1;
  }

  /** Undefined: there is none. */
  shift(): Member | undefined {
    const member = this.#places[this.#first];
    if (this.#size === 0) return undefined;
    this.#places[this.#first] = undefined;
    this.#first = (this.#first + 1) & (this.#places.length - 1);
    this.#size -= 1;
    return member;
  }

  /** The number of places is a power of two. */
  #grow(): void {
    const before = this.#places;
    this.#places = Array.from({ length: 2 * before.length }, (_, nth) =>
      nth < before.length ? before[(this.#first + nth) & (before.length - 1)] : undefined,
    );
    this.#first = 0;
  }
}
