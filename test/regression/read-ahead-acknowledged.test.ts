import { expect, it } from 'vitest'
import { Database } from '../../src/database.js'
import { drain, openKept, positionsOf } from '../feed/helpers.js'
import { until } from '../store/helpers.js'

it('an acknowledgement while the next changes are being read does not count those as dealt with', async () => {
  const { db } = await openKept()
  const consumer = await db.consumer('sink', { from: 'now' })
  const first = await db.put('a', '1')
  const reader = consumer.read({ live: true })
  expect((await reader.next()).value).toMatchObject({ position: first })

  const second = await db.put('b', '2')
  const { store } = Database.typedStoreOf(db)
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  let isHeld = false
  const { fairTurn } = store
  const due = fairTurn.due.bind(fairTurn)
  fairTurn.due = () => {
    fairTurn.due = due
    isHeld = true
    return held
  }
  const next = reader.next()
  await until(() => isHeld)
  await consumer.ack(first)
  const ending = reader.return?.()
  release()
  await Promise.all([next, ending])

  expect(positionsOf(await drain(consumer))).toContain(second)
})
