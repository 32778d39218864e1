import { expect, it } from 'vitest';
import { api } from './client';

it('goes on with a deletion when the page is left', async () => {
  const fetched: Request[] = [];
  const fetch = async (request: Request) => {
    fetched.push(request);
    return Response.json({});
  };
  const given = { fetch, baseUrl: 'http://mimi.test/api/v1', params: { path: { key: 'piper' } } };
  await api.DELETE('/agents/{key}', given);
  await api.GET('/agents/{key}', given);
  expect(fetched.map((request) => [request.method, request.keepalive])).toEqual([['DELETE', true], ['GET', false]]);
});
