package devorch.testserver.api;

import devorch.testserver.Dialect;

import io.kestra.core.models.QueryFilter;
import io.kestra.core.services.KVStoreService;
import io.kestra.core.storages.kv.KVEntry;
import io.micronaut.context.annotation.Requires;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Get;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.io.IOException;
import java.util.Map;

/** The keys of all namespaces, without their values; what expired is not among them (kestrapy 2.0, {@code kv_api.py}). */
@Controller("/api/v1/" + Tenant.MAIN + "/kv")
@ExecuteOn(TaskExecutors.IO)
@Requires(property = Dialect.PROPERTY, value = "2.0")
class KeyListController {
    private static final Map<String, String> SORTABLE = Map.of("key", "name", "namespace", "namespace", "updateDate", "updated");

    private final KVStoreService stores;

    KeyListController(KVStoreService stores) {
        this.stores = stores;
    }

    @Get
    Results<KVEntry> search(HttpRequest<?> request) throws IOException {
        return Results.of(
            stores.list(Search.page(request, SORTABLE::get), Tenant.MAIN, null, Search.filters(request, QueryFilter.Resource.KV_METADATA))
        );
    }
}
