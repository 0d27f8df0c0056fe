import { nameVlan } from "../linux/vlan-programs.ts";
import type { Step } from "./step.ts";

/** The steps as a shell script for people to read, with the reason above each. */
export function renderSteps(steps: readonly Step[]): string {
  return [
    "# What Clearline does to this machine's network, in order. On exit it undoes exactly this, in reverse.",
    ...steps.flatMap((step) => ["", `# ${step.why}`, ...commandsOf(step)]),
    "",
  ].join("\n");
}

function commandsOf(step: Step): string[] {
  switch (step.kind) {
    case "command": {
      const command = step.run.map((word) => (/^[\w./:=,@+-]+$/.test(word) ? word : `'${word}'`)).join(" ");
      return step.input === undefined ? [command] : [`${command} <<'END'`, step.input.trimEnd(), "END"];
    }
    case "sysctl":
      return [`sysctl -w ${step.key}=${step.value}${step.optional === true ? "   # where the kernel has it" : ""}`];
    case "bridge-port":
      return [`ip link set ${step.name} master ${step.bridge}`];
    case "move-link":
      return [`ip link set ${step.name} netns ${step.namespace}`];
    case "inside":
      return step.steps.flatMap((one) => {
        const [first = "", ...more] = commandsOf({ ...one, why: "" });
        return [`ip netns exec ${step.namespace} ${first}`, ...more];
      });
    case "link-up":
      return [`ip link set ${step.name} up`];
    case "frame-program":
      return [
        `# a program (BPF) at the ${step.hook} of ${step.name}: ${step.program} VLAN ${nameVlan(step.tags)}, ${step.to}`,
      ];
    case "tag-memory":
      return [`# programs (BPF) at the entries and exits of ${step.names.join(" and ")}: keep the priority of tags`];
    case "hold-table":
      return [];
  }
}
