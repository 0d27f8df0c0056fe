/** What can be said of a condition so far. Facts arrive in stages: a missing fact is not a false one. */
export type Truth = boolean | "unknown";

/** True when all are; false as soon as one is, whatever is still unknown of the others. */
export function all(truths: Iterable<Truth>): Truth {
  let open = false;
  for (const truth of truths) {
    if (truth === false) return false;
    if (truth === "unknown") open = true;
  }
  return open ? "unknown" : true;
}
