// @ts-check
// One logical replication connection as an async iterator: the messages of pgoutput and the server's keepalives, in
// the order in which they were sent and at the reader's pace (the socket pauses while much is waiting). Tells the
// server once a second, and whenever it asks, how far the reader has everything on disk. Every value is the text that
// PostgreSQL prints: nothing is rounded, nothing depends on a client's types.
import pg from 'pg'
import { PgoutputPlugin } from 'pg-logical-replication'

const XLOG_DATA = 0x77
const KEEPALIVE = 0x6b
const STATUS = 0x72
const WAITING_BYTES_MAX = 4 * 1024 * 1024
const STATUS_EVERY_MS = 1000
/** Milliseconds from 1970 to 2000, where PostgreSQL's clock begins. */
const POSTGRES_EPOCH_MS = 946_684_800_000n

/**
 * @typedef {{ tag: 'keepalive', lsn: bigint }} Keepalive
 * @typedef {import('pg-logical-replication').Pgoutput.Message | Keepalive} StreamMessage
 */

/** Settings under which the snapshot and the stream print the same text for the same value. */
export const TEXT_SETTINGS =
  '-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=3 -c bytea_output=hex'

export class ReplicationStream {
  /** @type {pg.Client} */ #client
  /** @type {StreamMessage[]} */ #waiting = []
  #waitingBytes = 0
  #flushedLsn = 0n
  /** @type {() => Promise<bigint>} */ #flush
  /** @type {Error | undefined} */ #failure
  #isStopped = false
  /** @type {() => void} */ #wake = () => {}
  /** @type {NodeJS.Timeout | undefined} */ #timer
  #plugin

  /**
   * @param {pg.ClientConfig} connection
   * @param {{ slot: string, publication: string, flush: () => Promise<bigint> }} options `flush` makes what was
   * applied durable and says up to where; only that is acknowledged.
   */
  constructor(connection, { slot, publication, flush }) {
    this.#client = new pg.Client({ ...connection, options: TEXT_SETTINGS, ...{ replication: 'database' } })
    this.#flush = flush
    this.#plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] })
    this.slot = slot
  }

  /** Starts where the server believes that the slot's reader is: it never begins later than what was acknowledged. */
  async start() {
    this.#client.on('error', (error) => this.#fail(error))
    await this.#client.connect()
    const { connection } = this.#client
    connection.on('copyData', ({ chunk }) => this.#receive(chunk))
    const started = new Promise((resolve) => connection.once('replicationStart', resolve))
    const streamed = this.#plugin.start(this.#client, this.slot, '0/0').then(
      () => this.#fail(new Error('Connection terminated: the server ended the stream')),
      (error) => this.#fail(error),
    )
    await Promise.race([started, streamed])
    if (this.#failure) throw this.#failure
    this.#timer = setInterval(() => void this.#report(), STATUS_EVERY_MS)
  }

  /** @returns {AsyncGenerator<StreamMessage, void>} ends after `stop`; throws what ended the connection. */
  async *[Symbol.asyncIterator]() {
    for (;;) {
      const ready = this.#waiting
      this.#waiting = []
      this.#waitingBytes = 0
      this.#client.connection.stream.resume()
      for (const message of ready) {
        if (this.#isStopped) return
        yield message
      }
      if (this.#isStopped) return
      if (this.#failure) throw this.#failure
      if (this.#waiting.length === 0) {
        await new Promise((resolve) => {
          this.#wake = () => resolve(undefined)
        })
      }
    }
  }

  /** Ends the iteration before the next message. */
  stop() {
    this.#isStopped = true
    this.#wake()
  }

  /** Acknowledges what is durable and ends the connection. */
  async close() {
    this.stop()
    clearInterval(this.#timer)
    if (!this.#failure) await this.#report()
    await this.#client.end().catch(() => {})
  }

  /** @param {Buffer} chunk valid only now: the parser reads into the same memory again */
  #receive(chunk) {
    try {
      if (chunk[0] === KEEPALIVE) {
        const last = this.#waiting.at(-1)
        if (last?.tag === 'keepalive') this.#waiting.pop()
        this.#waiting.push({ tag: 'keepalive', lsn: chunk.readBigUInt64BE(1) })
        if (chunk[17] === 1) this.#sendStatus()
      } else if (chunk[0] === XLOG_DATA) {
        const message = this.#plugin.parse(chunk.subarray(25))
        if (message.tag === 'relation') for (const column of message.columns) column.parser = asText
        this.#waiting.push(message)
        this.#waitingBytes += chunk.length
        if (this.#waitingBytes > WAITING_BYTES_MAX) this.#client.connection.stream.pause()
      }
      this.#wake()
    } catch (error) {
      this.#fail(/** @type {Error} */ (error))
    }
  }

  async #report() {
    try {
      this.#flushedLsn = await this.#flush()
      this.#sendStatus()
    } catch (error) {
      this.#fail(/** @type {Error} */ (error))
    }
  }

  /** Written, flushed and applied are one: what is not on disk here is not acknowledged at all. */
  #sendStatus() {
    if (this.#failure) return
    const status = Buffer.alloc(34)
    status[0] = STATUS
    for (const offset of [1, 9, 17]) status.writeBigUInt64BE(this.#flushedLsn, offset)
    status.writeBigInt64BE((BigInt(Date.now()) - POSTGRES_EPOCH_MS) * 1000n, 25)
    // Not in the types of pg: how copy data goes to the server.
    const connection = /** @type {{ sendCopyFromChunk(chunk: Buffer): void }} */ (
      /** @type {unknown} */ (this.#client.connection)
    )
    connection.sendCopyFromChunk(status)
  }

  /** @param {Error} error */
  #fail(error) {
    this.#failure ??= error
    clearInterval(this.#timer)
    this.#wake()
  }
}

/** @param {string} text */
export function asText(text) {
  return text
}
