#!/bin/sh
# Says that the caller is there, and something in general: say.sh WORDS, without " and \
# TOKEN is in the environment.
curl -s --fail-with-body "${URL:-http://127.0.0.1:3101/v1/graphql}" \
  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
  -d '{
    "query": "mutation ($input: SendMessageInput!) { heartbeat(input: {active: true}) { id } setCustomStatus(input: {text: \"in a shell\"}) { status } sendMessage(input: $input) { status error { code message } } }",
    "variables": {"input": {"channelId": "00000000-0000-4000-9000-000000000001", "clientMessageId": "'"shell-$(date +%s)-$$"'", "content": "'"$*"'"}}
  }'
