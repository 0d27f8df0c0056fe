/** RFC 8701: the values 0x0a0a, 0x1a1a … 0xfafa, which clients send so that servers keep ignoring unknown values. */
export function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff);
}
