/** Members by their owner, and the owner that has most of them. Every call takes constant time. */
export class Shares<Member> {
  /** Members in the order in which they came. */
  readonly #members = new Map<string, Set<Member>>();
  /** The owners with each number of members. */
  readonly #owners: (Set<string> | undefined)[] = [];

  of(owner: string): ReadonlySet<Member> {
    return this.#members.get(owner) ?? NOBODY;
  }

  /** Of owners with equally many, the one that has had so many for longest. Undefined: there is no member. */
  largest(): string | undefined {
    const [owner] = this.#owners.at(-1) ?? [];
    return owner;
  }

  add(owner: string, member: Member): void {
    const members = this.#members.get(owner) ?? new Set();
    this.#members.set(owner, members);
    if (members.has(member)) return;
    members.add(member);
    this.#count(owner, members.size - 1, members.size);
  }

  delete(owner: string, member: Member): void {
    const members = this.#members.get(owner);
    if (!members?.delete(member)) return;
    if (members.size === 0) this.#members.delete(owner);
    this.#count(owner, members.size + 1, members.size);
  }

  *all(): Generator<Member> {
    for (const members of this.#members.values()) yield* members;
  }

  #count(owner: string, before: number, after: number): void {
    this.#owners[before]?.delete(owner);
    if (after > 0) {
      const same = this.#owners[after] ?? new Set();
      this.#owners[after] = same.add(owner);
    }
    // The last entry is the largest share that anybody has.
    while (this.#owners.length > 0 && !this.#owners.at(-1)?.size) this.#owners.pop();
  }
}

const NOBODY: ReadonlySet<never> = new Set();
