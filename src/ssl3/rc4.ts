/**
 * RC4, which OpenSSL's default provider no longer has. RFC 6229 has test vectors; RFC 7465 forbids it in TLS. The function
 * that it answers encrypts or decrypts the next bytes of the stream in place.
 */
export function createRc4(key: Uint8Array): (bytes: Uint8Array) => void {
  const state = schedule(key);
  let i = 0;
  let j = 0;
  return (bytes) => {
    // Locals: V8 keeps these in registers, which doubles the speed.
    let x = i;
    let y = j;
    for (let at = 0; at < bytes.length; at += 1) {
      x = (x + 1) & 0xff;
      const a = state[x]!;
      y = (y + a) & 0xff;
      const b = state[y]!;
      state[x] = b;
      state[y] = a;
      bytes[at] = bytes[at]! ^ state[(a + b) & 0xff]!;
    }
    i = x;
    j = y;
  };
}

function schedule(key: Uint8Array): Uint8Array {
  const state = Uint8Array.from({ length: 256 }, (_, at) => at);
  let j = 0;
  for (let i = 0; i < 256; i += 1) {
    const value = state[i]!;
    j = (j + value + key[i % key.length]!) & 0xff;
    state[i] = state[j]!;
    state[j] = value;
  }
  return state;
}
