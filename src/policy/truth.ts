/** Whether a condition holds. "unknown": it depends on a fact that is not known yet. */
export type Truth = boolean | "unknown";

/** The conjunction: false if one judge says false, else unknown if one says unknown, else true. */
export function all<Subject>(judges: readonly ((subject: Subject) => Truth)[], subject: Subject): Truth {
  let truth: Truth = true;
  for (const judge of judges) {
    const one = judge(subject);
    if (one === false) return false;
    if (one === "unknown") truth = "unknown";
  }
  return truth;
}
