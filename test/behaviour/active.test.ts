import { type ActiveAnswer, type Client } from '@rivulet/client';
import { filter, firstValueFrom, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { cuttableLink } from '../harness/link.js';
import { startServer } from '../harness/rivulet.js';
import { connected, sdk, snapshotWhen } from '../harness/sdk.js';
import { stage } from '../harness/stage.js';
import { answer as say } from '../harness/tools.js';

const ME = { auth: () => 'me' };

/** A server that knows its users by their tokens, so that each client is a device. */
async function staged() {
  const { provider, calls, nextCall } = stage();
  const server = await startServer(provider, {
    authenticate: ({ token }) => (token === undefined ? undefined : { principal: token }),
  });
  return { server, calls, nextCall };
}

function activeWhen(
  { active$ }: Client,
  matches: (active: readonly ActiveAnswer[]) => boolean,
): Promise<readonly ActiveAnswer[]> {
  return firstValueFrom(active$.pipe(filter(matches)));
}

describe('what is under way for a user', () => {
  it('has each answer of this client from its start to its end', async () => {
    const { server, nextCall } = await staged();
    const client = sdk(server.url, ME);
    const seen = firstValueFrom(client.active$.pipe(toArray()));
    await activeWhen(client, (active) => active.length === 0);
    const query = 'What is a delta?';
    const answer = client.start({ query, sessionId: 'one' });
    const call = await nextCall();
    call.say('Where');
    await snapshotWhen(answer, ({ status }) => status === 'streaming');
    say(call, ' it ends.');
    await answer.result;
    client.close();
    const item = { id: answer.id, query, sessionId: 'one' };
    expect(await seen).toEqual([
      [],
      [{ ...item, status: 'waiting' }],
      [{ ...item, status: 'streaming' }],
      [],
    ]);
  });

  it('tells on each device that a call waits for the user, until it is answered', async () => {
    const { server, nextCall } = await staged();
    const [here, there] = [sdk(server.url, ME), sdk(server.url, ME)];
    const parameters = { jsonSchema: { type: 'object' } };
    const tools = [{ name: 'place', description: 'Says where the user is.', parameters }];
    const statusOf = (client: Client, status: ActiveAnswer['status']) =>
      activeWhen(client, (active) => active[0]?.status === status);
    const answer = here.start({ query: 'Where?', tools });
    const call = await nextCall();
    call.say('I look.');
    call.callTool('place', {});
    call.finish();
    await statusOf(here, 'paused');
    const [listed] = await statusOf(there, 'paused');
    const other = there.resume(listed!.id);
    const [use] = (await snapshotWhen(other, (snapshot) => snapshot.tools.length > 0)).tools;
    await statusOf(there, 'paused');
    await other.reply(use!.callId, { result: 'Rome' });
    await nextCall();
    expect((await statusOf(here, 'streaming'))[0]).toMatchObject({ id: answer.id });
    expect(await statusOf(there, 'streaming')).toHaveLength(1);
  });

  it('has what another device asked, as the server lists it, in the order of asking', async () => {
    const { server, calls, nextCall } = await staged();
    const [here, there] = [sdk(server.url, ME), sdk(server.url, ME)];
    const first = there.start({ query: 'x'.repeat(300) });
    const call = await nextCall();
    call.say('Where');
    await snapshotWhen(first, ({ text }) => text !== '');
    const second = here.start({ query: 'Second' });
    await nextCall();
    const active = await activeWhen(here, ({ length }) => length === 2);
    expect(active).toEqual([
      { id: first.id, query: 'x'.repeat(256), sessionId: undefined, status: 'streaming' },
      { id: second.id, query: 'Second', sessionId: undefined, status: 'waiting' },
    ]);
    const same = here.resume(first.id);
    expect(same.getSnapshot().query).toBe('x'.repeat(256));
    say(call, ' it ends.');
    expect(await same.result).toMatchObject({ text: 'Where it ends.', source: 'model' });
    expect(await activeWhen(here, () => true)).toMatchObject([{ id: second.id }]);
    expect(calls).toHaveLength(2);
  });

  it.each([
    ['reads', true],
    ['is asked by', false],
  ])('stays where this client releases what another one %s', async (_does, isPlain) => {
    const { server, nextCall } = await staged();
    const [here, there] = [sdk(server.url, ME), sdk(server.url, ME)];
    const tools = [{ name: 't', description: 'd', parameters: { jsonSchema: { type: 'object' } } }];
    const { id } = there.start({ query: 'Mine?', ...(!isPlain && { tools }) });
    const call = await nextCall();
    const answer = here.resume(id);
    if (isPlain) call.say('Where');
    else {
      call.callTool('t', {});
      call.finish();
    }
    const seen: string[] = [];
    here.active$.subscribe((active) => seen.push(active.map(({ status }) => status).join()));
    const status = isPlain ? 'streaming' : 'paused';
    await activeWhen(here, ([active]) => active?.status === status);
    await activeWhen(there, ([active]) => active?.status === status);
    answer.release();
    // The server lists this one after it has changed the list because of the release.
    here.start({ query: 'Next' });
    const [first] = await activeWhen(here, ({ length }) => length === 2);
    expect(first).toMatchObject({ id, query: 'Mine?', status });
    expect(seen).not.toContain('');
  });

  it('keeps the query of what another client asked, for one that resumes it before it knows the list', async () => {
    const { server, nextCall } = await staged();
    const { id } = sdk(server.url, ME).start({ query: 'Mine?', sessionId: 's' });
    (await nextCall()).say('Where');
    const here = sdk(server.url, ME);
    const resumed = here.resume(id);
    await snapshotWhen(resumed, ({ text }) => text !== '');
    expect(await activeWhen(here, ({ length }) => length > 0)).toEqual([
      { id, query: 'Mine?', sessionId: 's', status: 'streaming' },
    ]);
  });

  it('is not said to be nothing before the server has been asked', async () => {
    const { server, nextCall } = await staged();
    const laptop = sdk(server.url, ME);
    const { id } = laptop.start({ query: 'What is a delta?' });
    await nextCall();
    expect(await firstValueFrom(sdk(server.url, ME).active$)).toMatchObject([{ id }]);
  });

  it('is nobody else’s', async () => {
    const { server, nextCall } = await staged();
    const mine = sdk(server.url, ME).start({ query: 'Mine' });
    await nextCall();
    const other = sdk(server.url, { auth: () => 'another' });
    expect(await activeWhen(other, () => true)).toEqual([]);
    await expect(other.resume(mine.id).result).rejects.toMatchObject({ code: 'not_found' });
  });

  it('is asked for again with each new connection', async () => {
    const { server, nextCall } = await staged();
    const link = await cuttableLink(server.url);
    const [here, there] = [sdk(link.url, ME), sdk(server.url, ME)];
    await activeWhen(here, ({ length }) => length === 0);
    await connected(here);
    const answer = there.start({ query: 'Meanwhile' });
    await nextCall();
    link.cut();
    expect(await activeWhen(here, ({ length }) => length === 1)).toMatchObject([
      { id: answer.id, query: 'Meanwhile', status: 'waiting' },
    ]);
  });

  it('is stopped by who attached to it, for all who read it', async () => {
    const { server, nextCall } = await staged();
    const answer = sdk(server.url, ME).start({ query: 'Stop' });
    const call = await nextCall();
    const attached = sdk(server.url, ME).resume(answer.id);
    attached.cancel();
    await call.aborted;
    expect((await answer.result).status).toBe('cancelled');
  });

  it('hears of answers that begin and end elsewhere, without asking again', async () => {
    const { server, nextCall } = await staged();
    const [here, there] = [sdk(server.url, ME), sdk(server.url, ME)];
    const seen: string[] = [];
    here.active$.subscribe((active) => seen.push(active.map(({ status }) => status).join()));
    await activeWhen(here, ({ length }) => length === 0);
    const answer = there.start({ query: 'Elsewhere' });
    const call = await nextCall();
    await activeWhen(here, ([first]) => first?.status === 'waiting');
    call.say('Where');
    await activeWhen(here, ([first]) => first?.status === 'streaming');
    call.finish();
    await answer.result;
    await activeWhen(here, ({ length }) => length === 0);
    expect(seen).toEqual(['', 'waiting', 'streaming', '']);
  });
});
