import { z } from "zod";
import { isAddressEntry } from "../policy/address-set.ts";
import { REACH_CLASSES } from "../policy/reach.ts";

/** `reach` of an explicit listener. */

const error = `neither all, ${REACH_CLASSES.join(", ")}, nor an address or a subnet`;
const entry = z.string({ error }).refine((text) => text === "all" || isClass(text) || isAddressEntry(text), { error });

/** One entry or a list, read as a list. */
export function reach() {
  return z
    .union([entry, z.array(entry)], { error })
    .transform((value) => [value].flat())
    .optional()
    .meta({
      description:
        "What clients may reach of this machine and its links: loopback, linkLocal, own (its other addresses), addresses and subnets; or all. The node's own ports stay closed. Absent: all if the listener is on loopback, otherwise nothing of these.",
    });
}

function isClass(text: string): boolean {
  return REACH_CLASSES.some((name) => name === text);
}
