import type { Step } from "../linux/steps.ts";

/** The plan as a person reads it: a shell script with a reason above each line. */
export function renderPlan(plan: { readonly steps: readonly Step[] }): string {
  const lines = plan.steps.flatMap((step) => {
    const [first, ...more] = renderStep(step);
    return ["", `# ${step.why}`, ...(first === undefined ? [] : [first, ...more])];
  });
  return [
    "# What Clearline does to this machine's network, in order. On exit it undoes exactly this, in reverse.",
    ...lines,
    "",
  ].join("\n");
}

function renderStep(step: Step): string[] {
  switch (step.kind) {
    case "command": {
      const command = step.run.map((word) => (/^[\w./:=,@+-]+$/.test(word) ? word : `'${word}'`)).join(" ");
      return step.input === undefined ? [command] : [`${command} <<'END'`, step.input.trimEnd(), "END"];
    }
    case "sysctl":
      return [`sysctl -w ${step.key}=${step.value}${step.optional === true ? "   # where the kernel has it" : ""}`];
    case "link-up":
      return [`ip link set ${step.name} up`];
    case "hold-table":
      return [];
  }
}
