const NEWLINE = 0x0a

/** Splits a byte stream at newlines, a chunk's lines at a time; the last line needs no newline. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer[]> {
  // A line of 300 MB comes in thousands of chunks: they are joined once, at its end.
  let pending: Buffer[] = []
  for await (const piece of chunks) {
    const chunk = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    const lines: Buffer[] = []
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const tail = chunk.subarray(start, end)
      lines.push(pending.length === 0 ? tail : Buffer.concat([...pending, tail]))
      pending = []
      start = end + 1
    }
    if (start < chunk.length) pending.push(chunk.subarray(start))
    if (lines.length > 0) yield lines
  }
  if (pending.length > 0) yield [Buffer.concat(pending)]
}
