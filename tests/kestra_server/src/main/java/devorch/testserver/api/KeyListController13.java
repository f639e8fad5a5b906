package devorch.testserver.api;

import devorch.testserver.Dialect;

import io.kestra.core.services.KVStoreService;
import io.kestra.core.storages.kv.KVEntry;
import io.micronaut.context.annotation.Requires;
import io.micronaut.data.model.Pageable;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Get;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.io.IOException;
import java.util.List;

/**
 * The keys of a namespace as servers of 1.x list them: no pages. The client of 1.3 asks at 2.0's address; the older
 * address is the one served here, so that both are asked in the tests.
 */
@Controller("/api/v1/" + Tenant.MAIN + "/namespaces/{namespace}/kv")
@ExecuteOn(TaskExecutors.IO)
@Requires(property = Dialect.PROPERTY, value = "1.3")
class KeyListController13 {
    private final KVStoreService stores;

    KeyListController13(KVStoreService stores) {
        this.stores = stores;
    }

    @Get
    List<KVEntry> list(String namespace) throws IOException {
        return stores.list(Pageable.UNPAGED, Tenant.MAIN, namespace);
    }
}
