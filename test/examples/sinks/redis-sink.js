// @ts-check
// A Redis hash that holds what the store holds, as a cache that is never stale for long and never wrong for good. One
// script applies changes and moves the position, only from where the sink is: a batch that comes again does nothing.
// Beside the hash a sorted set keeps the keys in the order of their bytes, for `clear` of a range. Redis is to run
// with `appendonly yes`; what it still loses with its machine is delivered again while the log holds it.
import { stepsOf } from './changes.js'

const APPLY = `
  local data, keys, position = KEYS[1], KEYS[2], KEYS[3]
  local before, after = ARGV[1], ARGV[2]
  if after ~= '' then
    if (redis.call('GET', position) or '') ~= before then return 0 end
    redis.call('SET', position, after)
  end
  local i = 3
  while i <= #ARGV do
    local kind, a, b = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if kind == 'put' then
      redis.call('HSET', data, a, b)
      redis.call('ZADD', keys, 0, a)
    elseif kind == 'del' then
      redis.call('HDEL', data, a)
      redis.call('ZREM', keys, a)
    else
      local low, high = '[' .. a, b == '' and '+' or '(' .. b
      for _, key in ipairs(redis.call('ZRANGEBYLEX', keys, low, high)) do redis.call('HDEL', data, key) end
      redis.call('ZREMRANGEBYLEX', keys, low, high)
    end
    i = i + 3
  end
  return 1`

/** @typedef {import('redis').RedisClientType} RedisClient */

export class RedisSink {
  #client
  #name
  #keys

  /** @param {RedisClient} client connected @param {string} name of the hash; its helpers are `name:keys`, `name:position` */
  constructor(client, name) {
    this.#client = client
    this.#name = name
    this.#keys = [name, `${name}:keys`, `${name}:position`]
  }

  async position() {
    const text = await this.#client.get(`${this.#name}:position`)
    return text === null ? undefined : Number(text)
  }

  async clear() {
    await this.#client
      .multi()
      .del(`${this.#name}:position`)
      .unlink([this.#name, `${this.#name}:keys`])
      .exec()
  }

  /**
   * @param {readonly import('./changes.js').Change[]} changes
   * @param {number | undefined} before
   * @param {number | undefined} after
   */
  async apply(changes, before, after) {
    /** @type {(string | Buffer)[]} */
    const args = [String(before ?? ''), String(after ?? '')]
    for (const step of stepsOf(changes)) {
      if (step.type === 'clear') args.push('clear', step.start, step.end ?? '')
      else
        for (const [key, value] of step.entries) args.push(value === null ? 'del' : 'put', key, value ?? '')
    }
    const answer = await this.#client.eval(APPLY, { keys: this.#keys, arguments: args })
    if (answer !== 1) throw new Error(`${this.#name} is no longer at ${before}: something else feeds it too`)
    return after
  }
}
