// The token of whoever is signed in: the one Hasura gets. Here it is always the same user's.
export const dynamic = "force-dynamic";

export function GET() {
  return process.env.TOKEN ? new Response(process.env.TOKEN, { headers: { "Cache-Control": "no-store" } }) : new Response(null, { status: 401 });
}
