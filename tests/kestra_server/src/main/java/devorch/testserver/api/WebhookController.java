package devorch.testserver.api;

import io.kestra.core.exceptions.IllegalVariableEvaluationException;
import io.kestra.core.http.HttpRequest.ByteArrayRequestBody;
import io.kestra.core.http.HttpRequest.RequestBody;
import io.kestra.core.http.HttpRequest.StringRequestBody;
import io.kestra.core.models.flows.Flow;
import io.kestra.core.models.flows.FlowWithException;
import io.kestra.core.repositories.FlowRepositoryInterface;
import io.kestra.core.services.WebhookService;
import io.kestra.core.utils.IdUtils;
import io.kestra.core.utils.ListUtils;
import io.kestra.plugin.core.trigger.AbstractWebhookTrigger;
import io.kestra.plugin.core.trigger.AbstractWebhookTrigger.FetchType;
import io.kestra.plugin.core.trigger.WebhookContext;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.HttpResponse;
import io.micronaut.http.HttpStatus;
import io.micronaut.http.MediaType;
import io.micronaut.http.MutableHttpResponse;
import io.micronaut.http.annotation.Body;
import io.micronaut.http.annotation.Consumes;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.Post;
import io.micronaut.http.annotation.Put;
import io.micronaut.http.server.exceptions.UnsupportedMediaException;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.Set;

import reactor.core.publisher.Mono;

/**
 * The webhooks. Which trigger a call meets is decided here (the first whose rendered key is the given one, as in
 * Kestra); what becomes of the call, the answer included, is the engine's {@code AbstractWebhookTrigger}.
 */
@Controller("/api/v1/" + Tenant.MAIN + "/executions/webhook")
@ExecuteOn(TaskExecutors.IO)
class WebhookController {
    private static final Set<String> TEXT_SUBTYPES = Set.of("json", "xml", "x-www-form-urlencoded", "yaml", "x-yaml", "csv");

    private final FlowRepositoryInterface flows;
    private final WebhookService service;

    WebhookController(FlowRepositoryInterface flows, WebhookService service) {
        this.flows = flows;
        this.service = service;
    }

    @Get("/{namespace}/{id}/{key}")
    Mono<HttpResponse<?>> get(HttpRequest<?> request, String namespace, String id, String key) throws Exception {
        return call(request, namespace, id, key, null);
    }

    @Post("/{namespace}/{id}/{key}")
    @Consumes(MediaType.ALL)
    Mono<HttpResponse<?>> post(HttpRequest<?> request, String namespace, String id, String key, @Nullable @Body byte[] body) throws Exception {
        return call(request, namespace, id, key, body);
    }

    @Put("/{namespace}/{id}/{key}")
    @Consumes(MediaType.ALL)
    Mono<HttpResponse<?>> put(HttpRequest<?> request, String namespace, String id, String key, @Nullable @Body byte[] body) throws Exception {
        return call(request, namespace, id, key, body);
    }

    private Mono<HttpResponse<?>> call(HttpRequest<?> request, String namespace, String id, String key, @Nullable byte[] body) throws Exception {
        Flow flow = flows.findByIdForExecutionWithoutAcl(Tenant.MAIN, namespace, id)
            .orElseThrow(() -> new NoSuchElementException("Flow not found"));
        if (flow.isDisabled()) {
            throw new IllegalStateException("Cannot execute disabled flow");
        }
        if (flow instanceof FlowWithException invalid) {
            throw new IllegalStateException("Cannot execute an invalid flow: " + invalid.getException());
        }
        AbstractWebhookTrigger trigger = find(flow, key);
        if (trigger.isDisabled()) {
            throw new IllegalStateException("Cannot execute disabled trigger");
        }
        var forwarded = io.kestra.core.http.HttpRequest.of(
            request.getUri(), request.getMethodName(), body(request, trigger.getFetchType(), body), request.getHeaders().asMap()
        );
        WebhookContext context = WebhookContext.builder()
            .request(forwarded)
            .flow(flow)
            .trigger(trigger)
            .webhookService(service)
            .executionId(IdUtils.create())
            .build();
        return trigger.evaluate(context).map(WebhookController::answer);
    }

    private AbstractWebhookTrigger find(Flow flow, String key) throws IllegalVariableEvaluationException {
        for (var trigger : ListUtils.emptyOnNull(flow.getTriggers())) {
            if (trigger instanceof AbstractWebhookTrigger webhook && key.equals(service.runContext(flow, trigger).render(webhook.getKey()))) {
                return webhook;
            }
        }
        throw new NoSuchElementException("Webhook not found");
    }

    private static RequestBody body(HttpRequest<?> request, FetchType fetchType, @Nullable byte[] body) {
        MediaType type = request.getContentType().orElse(MediaType.TEXT_PLAIN_TYPE);
        if (fetchType == FetchType.STORE || type.matches(MediaType.MULTIPART_FORM_DATA_TYPE)) {
            throw new UnsupportedMediaException(type.getName(), List.of());
        }
        if (fetchType == FetchType.NONE || body == null || body.length == 0) {
            return null;
        }
        boolean text = type.getType().equals("text") || TEXT_SUBTYPES.contains(type.getSubtype()) || type.getSubtype().endsWith("+json");
        return text ? StringRequestBody.of(new String(body, request.getCharacterEncoding())) : ByteArrayRequestBody.of(body);
    }

    private static HttpResponse<?> answer(io.kestra.core.http.HttpResponse<?> response) {
        MutableHttpResponse<Object> answer = HttpResponse.status(HttpStatus.valueOf(response.getStatus().getCode()));
        if (response.getBody() == null) {
            return answer;
        }
        // Set only for a trigger with its own responseContentType.
        Optional.ofNullable(response.getHeaders()).flatMap(headers -> headers.firstValue("content-type")).ifPresent(answer::contentType);
        return answer.body(response.getBody());
    }
}
