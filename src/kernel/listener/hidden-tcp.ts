import { type Lane, vlanOf } from "./lane.ts";
import { chain, count, type RuleContext } from "./rule-writing.ts";

/**
 * TCP where a bridge does not see it by itself: behind further tags, or in LLC/SNAP framing (IEEE 802). A frame with VLAN 0 is of no VLAN, and
 * hosts such as Linux take off as many of these tags as there are: in front of any frame they must not hide it from the node.
 */

/** The types of a tag: IEEE 802.1Q and 802.1ad. */
const TAGS = "{ 0x8100, 0x88a8 }";
/** RFC 1042. The kernel's own number for such frames. */
const LLC = "0x0004";
const SNAP = "0xaaaa03000000";

/** Jumps to `hiddenChain`, for the frames from this interface. */
export function seeHidden(lane: Lane, side: "a" | "b", link: string): string[] {
  return [TAGS, LLC].map((type) => `iifname "${link}" meta protocol ${type} jump hidden-${side}-${lane.index}`);
}

/**
 * `lift`: the statements for a packet that the IP rules judge; undefined: frames of no VLAN cross the bridge. What no rule takes goes on as
 * it is.
 */
export function hiddenChain(
  w: RuleContext,
  lanes: readonly Lane[],
  lane: Lane,
  side: "a" | "b",
  lift: string | undefined,
): string[] {
  const drop = `${count(w, lane, "bridge", "impossible")} drop`;
  // Offsets in a frame as it came: the kernel has taken its first tag out, and nft reads as if it were there.
  const [first, second, third] = ["@ll,112,16", "@ll,144,16", "@ll,176,16"];
  const [inSecond, inThird] = [160, 192];
  const is = (tag: string, id: number) => `${tag} & 0x0fff == ${id}`;
  const more = `@ll,${inSecond},16 ${TAGS}`;
  const named = innerVlans(lanes, lane).flatMap(({ id, outer }) =>
    outer === undefined
      ? [
          ...tcpAt(inSecond).map((tcp) => `${is(first, 0)} ${is(second, id)} ${tcp} ${drop}`),
          ...tcpAt(inThird).map((tcp) => `${is(first, 0)} ${is(second, 0)} ${more} ${is(third, id)} ${tcp} ${drop}`),
        ]
      : tcpAt(inThird).flatMap((tcp) => [
          `${is(first, 0)} ${is(second, outer)} ${more} ${is(third, id)} ${tcp} ${drop}`,
          `${is(first, outer)} ${is(second, 0)} ${more} ${is(third, id)} ${tcp} ${drop}`,
        ]),
  );
  const ofNoVlan = [
    ...tcpAt(inSecond).map((tcp) => `meta protocol ${LLC} @ll,112,48 ${SNAP} ${tcp} ${drop}`),
    ...tcpAt(inThird).map((tcp) => `meta protocol ${LLC} @ll,96,16 ${TAGS} @ll,144,48 ${SNAP} ${tcp} ${drop}`),
    `meta protocol ${LLC} return`,
    ...tcpAt(inSecond).map((tcp) => `${is(first, 0)} ${is(second, 0)} ${tcp} ${lift}`),
    ...tcpAt(inThird).map((tcp) => `${is(first, 0)} ${is(second, 0)} ${more} ${is(third, 0)} ${tcp} ${lift}`),
  ];
  return chain(`hidden-${side}-${lane.index}`, [
    ...named,
    `${is(first, 0)} ${is(second, 0)} ${more} @ll,${inThird},16 ${TAGS} ${drop}`,
    ...(lift === undefined ? [] : ofNoVlan),
  ]);
}

/** Matches for TCP, if the type of what is inside is at this bit. In IPv6 other headers may be in front of it. */
function tcpAt(bit: number): string[] {
  const payload = bit + 16;
  return [
    `@ll,${bit},16 0x0800 @ll,${payload + 72},8 6`,
    `@ll,${bit},16 0x86dd @ll,${payload + 48},8 { 0, 6, 43, 44, 51, 60, 135 }`,
  ];
}

/** The VLANs of the same wire that are named, as they are inside of this lane's frames. */
function innerVlans(lanes: readonly Lane[], lane: Lane): { readonly id: number; readonly outer?: number }[] {
  const own = vlanOf(lane);
  const tags = lanes.flatMap(({ listener: { name, vlan } }) =>
    vlan && name === lane.listener.name ? [vlan.tags] : [],
  );
  if (own === null) return tags.map(({ id, outer }) => (outer ? { id, outer: outer.id } : { id }));
  return tags.flatMap(({ id, outer }) => (outer && `${outer.id}` === own ? [{ id }] : []));
}
