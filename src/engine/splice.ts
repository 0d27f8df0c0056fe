import type { End } from "./end.ts";
import { END, NOTHING_NOW, RESET } from "./layer.ts";
import { errno, libc, memory, must } from "./native.ts";

/**
 * Moves bytes between two TCP connections inside of the kernel, through a pipe. A direction at rest holds no pipe: pipes are
 * lent for the time in which bytes are in them.
 */

const SPLICE_F_MOVE_NONBLOCK = 1 | 2;
const O_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const F_SETPIPE_SZ = 1031;
const EAGAIN = 11;
/** Bytes that a pipe holds. The kernel allows this much to everybody. */
const PIPE_SIZE = 1 << 20;
/** Empty pipes that are kept for the next direction. */
const MOST_SPARE = 32;

interface Pipe {
  readonly out: number;
  readonly into: number;
}

const spare: Pipe[] = [];
/** Directions that may still need a pipe: without any, none is kept. */
let live = 0;

export class Splice {
  readonly #from: End;
  readonly #to: End;
  #pipe: Pipe | undefined;
  /** Bytes in the pipe. */
  #held = 0;

  constructor(from: End, to: End) {
    this.#from = from;
    this.#to = to;
    live += 1;
  }

  /** Moves what can be moved now, once `flush` answers true. Answers how many bytes came from the sender, NOTHING_NOW, END or RESET. */
  move(): number {
    // Its descriptor may be another connection's by now.
    if (!this.#from.isOpen) return RESET;
    this.#pipe ??= spare.pop() ?? newPipe();
    const came = libc.splice(this.#from.fd, null, this.#pipe.into, null, PIPE_SIZE, SPLICE_F_MOVE_NONBLOCK);
    if (came > 0) {
      this.#held = came;
      this.flush();
      return came;
    }
    this.#release();
    // The kernel calls it the end too when an urgent byte and a FIN are all that is left.
    if (came === 0 && !this.#from.isAtUrgent()) return this.#from.isReset ? RESET : END;
    if (came === 0) return NOTHING_NOW;
    if (errno() !== EAGAIN) return RESET;
    if (!this.#from.hasUrgent) this.#from.readable = false;
    return NOTHING_NOW;
  }

  /** True: nothing waits for the receiver to take more. The receiver's end knows when it is broken. */
  flush(): boolean {
    while (this.#held > 0) {
      if (!this.#to.writable) return false;
      const sent = libc.splice(this.#pipe!.out, null, this.#to.fd, null, this.#held, SPLICE_F_MOVE_NONBLOCK);
      if (sent <= 0) {
        if (errno() === EAGAIN) this.#to.writable = false;
        else this.#to.breakOff();
        return false;
      }
      this.#held -= sent;
      this.#to.noteWritten(sent);
    }
    this.#release();
    return true;
  }

  #release(): void {
    if (!this.#pipe || this.#held > 0) return;
    if (spare.length < MOST_SPARE) spare.push(this.#pipe);
    else closePipe(this.#pipe);
    this.#pipe = undefined;
  }

  /** The relay is over: what is still in the pipe is dropped with it. Called once. */
  free(): void {
    if (this.#held > 0 && this.#pipe) closePipe(this.#pipe);
    this.#pipe = undefined;
    this.#held = 0;
    live -= 1;
    if (live === 0) for (const pipe of spare.splice(0)) closePipe(pipe);
  }
}

function newPipe(): Pipe {
  const ends = memory(8);
  must(libc.pipe2(ends, O_NONBLOCK_CLOEXEC), "pipe2");
  const pipe = { out: ends.readInt32LE(0), into: ends.readInt32LE(4) };
  // Without it the pipe is smaller, and only slower.
  libc.fcntl(pipe.into, F_SETPIPE_SZ, PIPE_SIZE);
  return pipe;
}

function closePipe({ out, into }: Pipe): void {
  libc.close(out);
  libc.close(into);
}
