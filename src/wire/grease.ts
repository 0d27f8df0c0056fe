/** RFC 8701: values 0x0a0a, 0x1a1a … 0xfafa, sent so that receivers learn to ignore what they do not know. */
export function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff);
}
