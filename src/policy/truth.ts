/** What can be said of a condition so far. Facts arrive in stages: a missing fact is not a false one. */
export type Truth = boolean | "unknown";

/** True when every judge says so of this subject; false as soon as one does, whatever the others do not know yet. */
export function all<Subject>(judges: readonly ((subject: Subject) => Truth)[], subject: Subject): Truth {
  let truth: Truth = true;
  for (const judge of judges) {
    const one = judge(subject);
    if (one === false) return false;
    if (one === "unknown") truth = "unknown";
  }
  return truth;
}
